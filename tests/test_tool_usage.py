# SPDX-License-Identifier: GPL-2.0-only
"""What ipportfw says to its user, and what it hands to the kernel.

No kernel of 2.0 is needed: a library loaded before the C library stands in for
the system calls, records what the tool asks for and answers as told.
"""
import os
import pathlib
import shutil
import struct
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parent.parent
STRICT = ["-O2", "-Wall", "-Wextra", "-Werror"]
ADD, DELETE, FLUSH = 65 | 6 << 8, 66 | 6 << 8, 67 | 6 << 8
TCP, UDP = 6, 17

# The stand-in. FAKE_CALLS is the file to record in, FAKE_SOCKET and FAKE_OPTION
# are the errnos to fail with, FAKE_TABLE is read for /proc/net/ip_portfw, by at
# most FAKE_READ bytes a call; FAKE_READ_ERRNO fails the second read, once.
STAND_IN = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int table = -1;

static int setting(const char *name)
{
	const char *s = getenv(name);
	return s ? atoi(s) : 0;
}

static int record(const char *call, int a, int b, const unsigned char *bytes, int n)
{
	FILE *f = fopen(getenv("FAKE_CALLS"), "a");
	int i;

	fprintf(f, "%s %d %d ", call, a, b);
	for (i = 0; i < n; i++)
		fprintf(f, "%02x", bytes[i]);
	fputc('\n', f);
	return fclose(f);
}

int socket(int domain, int type, int protocol)
{
	(void)protocol;
	record("socket", domain, type, NULL, 0);
	if ((errno = setting("FAKE_SOCKET")))
		return -1;
	return dup(2);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
	(void)fd;
	record("setsockopt", level, option, value, size);
	errno = setting("FAKE_OPTION");
	return errno ? -1 : 0;
}

int open(const char *path, int flags, ...)
{
	if (strcmp(path, "/proc/net/ip_portfw"))
		return syscall(SYS_open, path, flags, 0600);
	table = syscall(SYS_open, getenv("FAKE_TABLE"), flags, 0);
	return table;
}

ssize_t read(int fd, void *buf, size_t n)
{
	static int reads;
	int most = setting("FAKE_READ");

	if (fd == table && ++reads == 2 && (errno = setting("FAKE_READ_ERRNO")))
		return -1;
	if (fd == table && most && (size_t)most < n)
		n = most;
	return syscall(SYS_read, fd, buf, n);
}
"""


class Tool:
    """The tool, compiled for one machine word, with its stand-in kernel."""

    def __init__(self, folder, machine):
        self.program = folder / "ipportfw"
        self.stand_in = folder / "stand-in.so"
        self.log = folder / "calls"
        subprocess.run(["gcc", machine, *STRICT, TOP / "tools/ipportfw.c",
                        "-o", self.program], check=True)
        (folder / "stand-in.c").write_text(STAND_IN)
        subprocess.run(["gcc", machine, *STRICT, "-fPIC", "-shared",
                        folder / "stand-in.c", "-o", self.stand_in], check=True)

    def __call__(self, *args, stdout=subprocess.PIPE, **fake):
        """Runs it with args; fake: the stand-in's settings."""
        self.log.write_text("")
        env = {"LD_PRELOAD": str(self.stand_in), "FAKE_CALLS": str(self.log),
               "FAKE_TABLE": "/nonexistent", "PATH": os.environ["PATH"]}
        env.update({"FAKE_" + k.upper(): str(v) for k, v in fake.items()})
        return subprocess.run([self.program, *args], env=env, stdout=stdout,
                              stderr=subprocess.PIPE, timeout=60)

    def calls(self):
        """What it asked of the kernel in its last run."""
        return [line.split(" ") for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module", params=["-m64", "-m32"])
def tool(request, tmp_path_factory):
    return Tool(tmp_path_factory.mktemp("tool"), request.param)


def complaint(result, status):
    """Checks that the tool failed as it should; returns the line it said why."""
    assert result.returncode == status
    assert not result.stdout
    assert result.stderr.startswith(b"ipportfw: ")
    assert result.stderr.endswith(b"\n") and result.stderr.count(b"\n") == 1
    text = result.stderr[:-1].decode("ascii")
    assert text.isprintable()
    assert len(text) < 200
    return text


LOCAL, REMOTE = "194.160.1.1/80", "10.0.0.2/80"
RULE = ["-A", "-t", LOCAL, "-R", REMOTE]

# What is wrong, the command line, and what the complaint must speak of.
WRONG = [
    ("no command", [], "-A, -D, -C, -L, -h"),
    ("no command but a rule", RULE[1:], "-A, -D, -C, -L, -h"),
    ("unknown option", ["-x"], "-x"),
    ("unknown option after a command", ["-C", "-Z"], "-Z"),
    ("unknown option joined to a command", ["-Cz"], "-z"),
    ("unknown long option", ["--help"], "--help"),
    ("two dashes", ["--"], "--"),
    ("two commands", ["-A", "-D", "-t", LOCAL], "-A and -D"),
    ("two commands joined", ["-CL"], "-C and -L"),
    ("a command twice", ["-L", "-L"], "-L and -L"),
    ("help and a command", ["-h", "-C"], "-h and -C"),
    ("nothing to add", ["-A"], "-t"),
    ("no local port", ["-A", "-R", REMOTE], "-t"),
    ("no remote port", ["-A", "-t", LOCAL], "-R"),
    ("nothing to delete", ["-D"], "-t"),
    ("TCP twice", [*RULE, "-t", LOCAL], "-t and -t"),
    ("UDP twice", ["-A", "-u", LOCAL, "-u", LOCAL, "-R", REMOTE], "-u and -u"),
    ("TCP and UDP", ["-D", "-t", LOCAL, "-u", LOCAL], "-t and -u"),
    ("two destinations", [*RULE, "-R", REMOTE], "-R"),
    ("delete with a destination", ["-D", "-t", LOCAL, "-R", REMOTE], "-R"),
    ("clear with a rule", ["-C", "-t", LOCAL], "-C"),
    ("list with a destination", ["-L", "-R", REMOTE], "-L"),
    ("help with a rule", ["-h", "-u", LOCAL], "-h"),
    ("-t without a value", ["-D", "-t"], "-t must be followed"),
    ("-u without a value", ["-D", "-u"], "-u must be followed"),
    ("-R without a value", ["-A", "-t", LOCAL, "-R"], "-R must be followed"),
    ("an option as value", ["-A", "-t", "-R", REMOTE], "-t must be followed"),
    ("trailing argument", [*RULE, "extra"], "extra"),
    ("trailing argument of -L", ["-L", "/etc/passwd"], "/etc/passwd"),
    ("leading argument", ["add", *RULE], "add"),
    ("empty argument", ["-L", ""], "''"),
    ("a lone dash", ["-L", "-"], "'-'"),
    ("a blank before the dash", [" -L"], "' -L'"),
]

MALFORMED = [
    "", " ", "/", "/80", "80", "a.b.c.d/80", "gateway/80",
    "10.0.0/80", "10.0.0.2.3/80", "10.0.0./80", ".10.0.0.2/80", "10..0.2/80",
    "10.0.0.2", "10.0.0.2:80", "10.0.0.2 80", "10.0.0.2 /80", " 10.0.0.2/80",
    "256.0.0.2/80", "10.256.0.2/80", "10.0.999.2/80", "10.0.0.256/80",
    "10.0.0.4294967298/80", "10.0.0.18446744073709551618/80",
    "-1.0.0.2/80", "10.0.0.-2/80", "+10.0.0.2/80", "10.0.0.+2/80", "10.0.0. 2/80",
    "010.0.0.2/80", "10.0.0.002/80", "10.0.00.2/80", "0x0a.0.0.2/80", "1e1.0.0.2/80",
    "167772162/80", "10.2/80", "10.0.0.2/24/80",
    "10.0.0.2/", "10.0.0.2/0", "10.0.0.2/00", "10.0.0.2/65536", "10.0.0.2/99999",
    "10.0.0.2/4294967376", "10.0.0.2/18446744073709551696", "10.0.0.2/-80",
    "10.0.0.2/+80", "10.0.0.2/ 80", "10.0.0.2/80 ", "10.0.0.2/080", "10.0.0.2/0x50",
    "10.0.0.2/http", "10.0.0.2/80x", "10.0.0.2/80/", "10.0.0.2/80.0", "10.0.0.2//80",
    "10.0.0.2/80\n", "10.0.0.2/80\n\nroot", "\x1b[2J/80", "1٣.0.0.2/80",
    "10.0.0.2/" + "8" * 5000, "1" * 5000 + ".0.0.2/80", "10." * 5000 + "2/80",
    "%s%n%s%n/80",
]


@pytest.mark.parametrize("args,about", [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_command_line_is_refused(tool, args, about):
    assert about in complaint(tool(*args), 2)
    assert not tool.calls()


@pytest.mark.parametrize("value", MALFORMED, ids=lambda v: repr(v)[1:30])
@pytest.mark.parametrize("before,after", [
    (["-A", "-R", REMOTE, "-t"], []),
    (["-D", "-u"], []),
    (["-A", "-t", LOCAL, "-R"], []),
], ids=["add", "delete", "destination"])
def test_a_malformed_address_is_refused(tool, before, after, value):
    about = complaint(tool(*before, value, *after), 2)
    assert about.startswith(f"ipportfw: {before[-1]} ")
    assert not tool.calls()


@pytest.mark.parametrize("value", [v for v in MALFORMED if v and v[0] != "-"],
                         ids=lambda v: repr(v)[1:30])
def test_a_malformed_address_is_refused_when_joined_too(tool, value):
    complaint(tool("-D", "-t" + value), 2)
    assert not tool.calls()


def test_a_very_long_command_line_is_refused(tool):
    complaint(tool(*["-L"] * 5000), 2)
    complaint(tool("-" + "A" * 100000), 2)
    complaint(tool("x" * 100000), 2)
    complaint(tool("-" + "x\n" * 50000), 2)


@pytest.mark.parametrize("port", [61000, 61001, 63000, 65095, 65096])
@pytest.mark.parametrize("option", ["-t", "-u"])
def test_masquerading_keeps_its_ports(tool, option, port):
    local = f"194.160.1.1/{port}"
    for result in (tool("-A", option, local, "-R", REMOTE), tool("-D", option, local)):
        assert "masquerading" in complaint(result, 2)
        assert not tool.calls()


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.0", "127.0.0.1",
                                     "127.255.255.255", "224.0.0.0", "224.0.0.1", "239.255.255.255",
                                     "240.0.0.0", "255.255.255.254", "255.255.255.255"])
def test_a_destination_is_one_host(tool, address):
    said = complaint(tool("-A", "-t", LOCAL, "-R", address + "/80"), 2)
    assert "one host" in said
    assert not tool.calls()


@pytest.mark.parametrize("address", ["224.0.0.1", "240.0.0.0", "255.255.255.255"])
def test_a_local_address_is_no_group(tool, address):
    complaint(tool("-A", "-t", address + "/80", "-R", REMOTE), 2)
    complaint(tool("-D", "-u", address + "/80"), 2)
    assert not tool.calls()


def test_help(tool):
    result = tool("-h")
    assert (result.returncode, result.stderr) == (0, b"")
    for text in (b"-A -[t|u] l.l.l.l/lport -R a.a.a.a/rport", b"-D -[t|u] l.l.l.l/lport",
                 b"ipportfw -C", b"ipportfw -L", b"-A -t194.160.1.1/80 -R 10.0.0.2/80"):
        assert text in result.stdout
    assert not tool.calls()


def edits(protocol, laddr, lport, raddr=0, rport=0):
    """The 20 bytes a kernel on i386 expects, host byte order, gaps cleared."""
    return struct.pack("<HxxIIHHHxx", protocol, laddr, raddr, lport, rport, 0)


def number(a, b, c, d):
    return a << 24 | b << 16 | c << 8 | d


WEB = (TCP, number(194, 160, 1, 1), 80)
HOST = number(10, 0, 0, 2)

ASKED = [
    (RULE, ADD, edits(*WEB, HOST, 80)),
    (["-A", "-t" + LOCAL, "-R", REMOTE], ADD, edits(*WEB, HOST, 80)),
    (["-A", "-t" + LOCAL, "-R" + REMOTE], ADD, edits(*WEB, HOST, 80)),
    (["-R", REMOTE, "-A", "-t", LOCAL], ADD, edits(*WEB, HOST, 80)),
    (["-t", LOCAL, "-R" + REMOTE, "-A"], ADD, edits(*WEB, HOST, 80)),
    (["-At" + LOCAL, "-R", REMOTE], ADD, edits(*WEB, HOST, 80)),
    (["-A", "-u194.160.1.1/525", "-R", "10.0.0.2/525"], ADD,
     edits(UDP, number(194, 160, 1, 1), 525, HOST, 525)),
    (["-A", "-t", "0.0.0.0/1", "-R", "1.2.3.4/65535"], ADD,
     edits(TCP, 0, 1, number(1, 2, 3, 4), 65535)),
    (["-A", "-u", "223.255.255.255/60999", "-R", "223.255.255.255/61000"], ADD,
     edits(UDP, number(223, 255, 255, 255), 60999, number(223, 255, 255, 255), 61000)),
    (["-A", "-t", "127.0.0.1/9", "-R", "128.0.0.0/9"], ADD,
     edits(TCP, number(127, 0, 0, 1), 9, number(128, 0, 0, 0), 9)),
    (["-A", "-t", "9.9.9.9/9", "-R", "126.255.255.255/9"], ADD,
     edits(TCP, number(9, 9, 9, 9), 9, number(126, 255, 255, 255), 9)),
    (["-A", "-t", "1.2.3.4/65097", "-R", "0.0.0.1/65096"], ADD,
     edits(TCP, number(1, 2, 3, 4), 65097, 1, 65096)),
    (["-D", "-t" + LOCAL], DELETE, edits(*WEB)),
    (["-D", "-u", "0.0.0.0/65535"], DELETE, edits(UDP, 0, 65535)),
    (["-t", LOCAL, "-D"], DELETE, edits(*WEB)),
    (["-C"], FLUSH, bytes(20)),
]


@pytest.mark.parametrize("args,option,argument", ASKED, ids=[" ".join(a[0]) for a in ASKED])
def test_what_the_kernel_is_asked(tool, args, option, argument):
    result = tool(*args)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    ip_level, inet, raw = 0, 2, 3
    assert tool.calls() == [["socket", str(inet), str(raw), ""],
                            ["setsockopt", str(ip_level), str(option), argument.hex()]]


EPERM, ENOENT, EIO, ENOMEM, EACCES, EINVAL, ENOPROTOOPT = 1, 2, 5, 12, 13, 22, 92
REFUSALS = [
    (RULE, {"socket": EPERM}, "only root"),
    (RULE, {"socket": EACCES}, "only root"),
    (["-C"], {"option": EPERM}, "only root"),
    (RULE, {"option": ENOPROTOOPT}, "kernel without CONFIG_IP_MASQUERADE_IPPORTFW"),
    (["-D", "-t", LOCAL], {"option": ENOPROTOOPT}, "CONFIG_IP_MASQUERADE_IPPORTFW"),
    (["-C"], {"option": ENOPROTOOPT}, "CONFIG_IP_MASQUERADE_IPPORTFW"),
    (["-D", "-t", LOCAL], {"option": ENOENT}, "no rule for TCP 194.160.1.1/80"),
    (["-D", "-u", LOCAL], {"option": ENOENT}, "no rule for UDP 194.160.1.1/80"),
    (["-D", "-u", LOCAL], {"option": EINVAL}, "no rule for UDP 194.160.1.1/80"),
    (RULE, {"option": EINVAL}, "refused the rule for TCP 194.160.1.1/80"),
    (RULE, {"option": ENOMEM}, "memory"),
    (["-C"], {"option": EINVAL}, "Invalid argument"),
    (RULE, {"socket": ENOMEM}, "raw socket"),
]


@pytest.mark.parametrize("args,fake,about", REFUSALS,
                         ids=[f"{r[0][0]} {r[1]}" for r in REFUSALS])
def test_a_refusal_is_explained(tool, args, fake, about):
    assert about in complaint(tool(*args, **fake), 1)


HEADING = "Prot Local Addr/Port > Remote Addr/Port"


def table(rules):
    """The kernel's table as text: each line filled up to 63 characters."""
    return "".join(f"{line:<63}\n" for line in [HEADING, *rules])


@pytest.mark.parametrize("read", [0, 1, 7, 64, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 3000])
def test_the_list(tool, tmp_path, count, read):
    rules = [f"{'UDP' if n % 3 else 'TCP'} 194.160.1.{n % 256}/{n + 1} > 10.0.0.2/{65535 - n}"
             for n in range(count)]
    (tmp_path / "table").write_text(table(rules))
    result = tool("-L", table=tmp_path / "table", read=read)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode() == "".join(line + "\n" for line in [HEADING, *rules])
    assert not tool.calls()


def test_the_list_of_an_interrupted_read_is_complete(tool, tmp_path):
    (tmp_path / "table").write_text(table(["TCP 194.160.1.1/80 > 10.0.0.2/80"]))
    result = tool("-L", table=tmp_path / "table", read=10, read_errno=4)
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode() == HEADING + "\nTCP 194.160.1.1/80 > 10.0.0.2/80\n"


def test_a_list_that_cannot_be_read(tool, tmp_path):
    (tmp_path / "table").write_text(table(["TCP 194.160.1.1/80 > 10.0.0.2/80"] * 100))
    result = tool("-L", table=tmp_path / "table", read_errno=EIO)
    assert result.returncode == 1
    assert result.stderr.startswith(b"ipportfw: cannot read /proc/net/ip_portfw: ")


def test_no_list(tool):
    said = complaint(tool("-L"), 1)
    assert "kernel without CONFIG_IP_MASQUERADE_IPPORTFW" in said


@pytest.mark.parametrize("count", [0, 3000])
def test_a_list_that_cannot_be_written(tool, tmp_path, count):
    (tmp_path / "table").write_text(table(["TCP 194.160.1.1/80 > 10.0.0.2/80"] * count))
    with open("/dev/full", "w") as full:
        said = complaint(tool("-L", table=tmp_path / "table", stdout=full), 1)
    assert "No space left" in said


def test_help_that_cannot_be_written(tool):
    with open("/dev/full", "w") as full:
        assert "No space left" in complaint(tool("-h", stdout=full), 1)


def test_standard_output_closed(tool, tmp_path):
    (tmp_path / "table").write_text(table(["TCP 194.160.1.1/80 > 10.0.0.2/80"]))
    env = {"LD_PRELOAD": str(tool.stand_in), "FAKE_TABLE": str(tmp_path / "table"),
           "FAKE_CALLS": str(tool.log)}
    for args, status in (("-L", 1), ("-h", 1), ("-C", 0)):
        result = subprocess.run(["/bin/sh", "-c", f"LD_PRELOAD=$P exec $T {args} >&-"],
                                env={**env, "LD_PRELOAD": "", "P": env["LD_PRELOAD"],
                                     "T": str(tool.program)},
                                capture_output=True, timeout=60)
        if status:
            assert "cannot write" in complaint(result, status)
        else:
            assert (result.returncode, result.stderr) == (0, b"")


def test_one_command_compiles_it(tmp_path):
    """As the README says: in tools/, with nothing but the compiler's defaults."""
    for name in ("tools", "src/include/linux"):
        shutil.copytree(TOP / name, tmp_path / name)
    done = subprocess.run(["gcc", "ipportfw.c", "-o", "ipportfw"], cwd=tmp_path / "tools",
                          capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert subprocess.run([tmp_path / "tools/ipportfw", "-h"], capture_output=True).returncode == 0


def test_a_compiler_of_1997_would_take_it(tmp_path):
    subprocess.run(["gcc", "-std=gnu89", "-pedantic", "-Wno-overlength-strings",
                    "-Wdeclaration-after-statement", *STRICT, TOP / "tools/ipportfw.c",
                    "-o", tmp_path / "ipportfw"], check=True)


def test_the_manual_page():
    """It is clean, and tells of every option the help tells of."""
    page = TOP / "tools/ipportfw.8"
    lint = subprocess.run(["mandoc", "-T", "lint", page], capture_output=True, text=True)
    # Which other pages there are is a matter of the machine.
    said = [line for line in (lint.stdout + lint.stderr).splitlines()
            if "referenced manual not found" not in line and "mandoc.db" not in line]
    assert said == []
    shown = subprocess.run(["mandoc", "-T", "ascii", page], capture_output=True, text=True).stdout
    # Bold is written as a letter, a backspace and the letter again.
    plain = "".join(c for i, c in enumerate(shown)
                    if c != "\b" and shown[i + 1:i + 2] != "\b")
    for option in ("-A", "-D", "-C", "-L", "-h", "-t l.l.l.l/lport", "-u l.l.l.l/lport",
                   "-R a.a.a.a/rport"):
        assert f"\n     {option}" in plain, option
    for text in ("/proc/net/ip_portfw", "EXIT STATUS", "ipfwadm(8)"):
        assert text in plain
