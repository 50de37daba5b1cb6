# SPDX-License-Identifier: GPL-2.0-only
"""make demo and make run, as their user sees them."""

import contextlib
import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

import lab
from lab.loop import PATIENCE

# A make of its own, not a part of the one that runs the tests.
ENV = {name: value for name, value in os.environ.items() if not name.startswith(('MAKE', 'MFLAGS', 'PORT'))}
PAGE = '<h1>Hello from 10.0.0.2</h1>\n'
RULES = ('Prot Local Addr/Port > Remote Addr/Port\n'
         'TCP 194.160.1.1/80 > 10.0.0.2/80\n'
         'UDP 194.160.1.1/525 > 10.0.0.2/525\n')


@pytest.fixture(scope='module', autouse=True)
def built():
    lab.kernel()
    lab.guest()


# make demo

@pytest.fixture(scope='module')
def demo():
    return subprocess.run(['make', 'demo'], cwd=lab.TOP, env=ENV, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=300 * PATIENCE)


def test_the_demo_succeeds(demo):
    assert demo.returncode == 0, demo
    assert demo.stderr == ''
    assert '\033' not in demo.stdout      # colours are for terminals


def test_the_demo_shows_the_boot_script_and_what_it_printed(demo):
    script = ''.join(f'gateway# {line}\n' for line in lab.BOOT_SCRIPT.splitlines())
    assert script + RULES in demo.stdout


def test_the_demo_shows_the_page_and_who_asked(demo):
    assert '\n\n' + PAGE in demo.stdout
    assert re.search(r'^163\.158\.1\.2:7890: url:/index\.html$', demo.stdout, re.M)
    assert re.search(r'\| nc -u .* 525\nis it five past five\?\n', demo.stdout)


def test_the_demo_shows_each_frame_on_both_wires(demo):
    rows = [line[5:].split() for line in demo.stdout.splitlines() if re.search(r' (out|in)side +[\d.]+/\d+ ', line)]
    client, tcp, udp = '163.158.1.2/7890', [], []
    for came, went in zip(rows[::2], rows[1::2], strict=True):
        assert int(went[3]) == int(came[3]) - 1 and went[4:] == came[4:], (came, went)
        (udp if '525' in ''.join(came[1:3]) else tcp).append((came[:3], went[:3]))
    syn = (['outside', client, '194.160.1.1/80'], ['inside', client, '10.0.0.2/80'])
    answer = (['inside', '10.0.0.2/80', client], ['outside', '194.160.1.1/80', client])
    assert tcp[:3] == [syn, answer, syn] and set(map(str, tcp)) == {str(syn), str(answer)}
    client = '163.158.1.2/7891'
    assert udp == [(['outside', client, '194.160.1.1/525'], ['inside', client, '10.0.0.2/525']),
                   (['inside', '10.0.0.2/525', client], ['outside', '194.160.1.1/525', client])]


def test_the_demo_shows_the_connections(demo):
    assert re.search(r'^gateway# netstat -M', demo.stdout, re.M)
    assert re.search(r'^tcp +\d+:\d\d\.\d\d 10\.0\.0\.2 +163\.158\.1\.2 +80 -> 7890 \(80\)$', demo.stdout, re.M)
    assert re.search(r'^udp +\d+:\d\d\.\d\d 10\.0\.0\.2 +163\.158\.1\.2 +525 -> 7891 \(525\)$', demo.stdout, re.M)


def test_the_demo_fits_a_terminal(demo):
    assert max(map(len, demo.stdout.splitlines())) <= 80


# make run

PROMPT = r'gateway# $'
# It is drawn anew once the size of the terminal is known there.
FIRST_PROMPT = r'gateway# gateway# +\x08+$'


def running(session):
    """The processes of a session."""
    found = []
    for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            name, rest = stat.read_text().rsplit(')', 1)
            state, _, _, its_session, *_ = rest.split()
            if int(its_session) == session and state != 'Z':
                found.append(name)
    return found


def all_end(session):
    """Ctrl-C ends make at once, and what make has started soon."""
    lab.loop.wait(lambda: not running(session.process.pid), 60, 'the end of all that was started', poll=0.05)


class Terminal:
    """A person's terminal, with a make in it."""

    def __init__(self, *argv, columns=100, lines=30):
        self.screen = ''
        self._seen = 0
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('4H', lines, columns, 0, 0))
        self._before = termios.tcgetattr(slave)
        self._slave = slave
        self.process = subprocess.Popen(['setsid', '--ctty', 'make', *argv], cwd=lab.TOP, env=ENV,
                                        stdin=slave, stdout=slave, stderr=slave)

    def type(self, keys):
        os.write(self._master, keys.encode())

    def expect(self, pattern, timeout=60):
        """Wait for something on the screen after what was found last."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            if found := re.compile(pattern, re.M).search(self.screen, self._seen):
                self._seen = found.end()
                return found
            ready, _, _ = select.select([self._master], [], [], max(0, end - time.monotonic()))
            assert ready, f'no {pattern!r} on the screen:\n{self.screen}'
            self.screen += os.read(self._master, 4096).decode().replace('\r', '')

    def ask(self, command):
        """Type a command at the prompt; returns what it prints."""
        self.type(f'{command}\r')
        return self.expect(rf'{re.escape(command)}\n([^\x08]*?){PROMPT}')[1]

    def ends(self):
        """Wait for the end, and return the exit status."""
        status = self.process.wait(60 * PATIENCE)
        assert termios.tcgetattr(self._slave) == self._before, 'the terminal is not as it was'
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)


def free_port():
    with socket.socket() as trial:
        trial.bind(('127.0.0.1', 0))
        return trial.getsockname()[1]


def curl(port):
    return subprocess.run(['curl', '-sS', '--noproxy', '*', '--max-time', '30', f'http://127.0.0.1:{port}/'],
                          capture_output=True, text=True)


@pytest.fixture(scope='module')
def session():
    """A person at the gateway; `port` is the way in from this machine."""
    port = free_port()
    with Terminal('run', f'PORT={port}') as session:
        session.port = port
        session.expect(FIRST_PROMPT)
        yield session


def test_a_hint_says_what_to_try(session):
    hint = session.screen[:session.screen.index('gateway# ')]
    assert f'curl http://127.0.0.1:{session.port}/' in hint
    assert 'ipportfw -L' in hint and 'netstat -M' in hint and 'Ctrl-A x' in hint


def test_the_gateway_answers(session):
    assert session.ask('ipportfw -L') == RULES
    assert session.ask('hostname; uname -r') == 'gateway\n2.0.40\n'


def test_the_forwarded_port_is_reached_from_this_machine(session):
    assert curl(session.port).stdout == PAGE
    assert re.search(r'^tcp .* 10\.0\.0\.2 +163\.158\.1\.3 +80 ', session.ask('netstat -M -n'), re.M)


def test_rules_are_taken_away_and_put_back(session):
    assert session.ask('ipportfw -D -t194.160.1.1/80') == ''
    assert curl(session.port).stdout == ''
    session.ask('ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80')
    assert curl(session.port).stdout == PAGE


def test_names_instead_of_numbers_come_at_once(session):
    """No name server is there to be asked."""
    curl(session.port)
    begin = time.monotonic()
    assert ' http -> ' in session.ask('netstat -M')
    assert ' http (80) -> ' in session.ask('ipfwadm -M -l')
    session.ask('route; netstat -r; arp')
    assert time.monotonic() - begin < 3 * PATIENCE


def test_the_line_is_edited(session):
    session.type('echo wrong\x7f\x7f\x7f\x7f\x7fright\r')
    session.expect(rf'^right\n{PROMPT}')
    session.type('\x1b[A')               # the last command again
    session.expect(r'echo right')
    session.type('\r')
    session.expect(rf'^right\n{PROMPT}')
    session.type('ls /usr/lo\t\r')
    session.expect(rf'^sbin\n{PROMPT}')
    assert session.ask('echo $LINES $COLUMNS') == '30 100\n'


def test_ctrl_c_interrupts_a_program_of_the_gateway(session):
    session.type('/bin/sleep 1000\r')
    session.expect(r'sleep 1000\n')
    session.type('\x03')
    session.expect(PROMPT)
    session.type('never mind\x03')       # and a line that is being typed
    session.expect(PROMPT)
    assert session.ask('echo still here') == 'still here\n'


def test_another_session_finds_the_port_busy(session):
    with Terminal('run', f'PORT={session.port}') as second:
        second.expect(r'^make run: cannot listen on port \d+ of 127\.0\.0\.1 \(Address already in use\): '
                      r'choose another, as in make run PORT=8090\nmake: .*\n')
        assert second.ends() != 0
        assert second.screen.count('\n') == 2


def test_ctrl_a_x_ends_it_all(session):
    """The last one that has the session."""
    assert running(session.process.pid)
    session.type('\x01x')
    assert session.ends() == 0
    all_end(session)
    assert curl(session.port).stdout == ''


def test_ctrl_c_while_it_boots_ends_it(built):
    with Terminal('run', f'PORT={free_port()}') as session:
        session.expect('booting the web server')
        session.type('\x03')
        assert session.ends() != 0
        all_end(session)
        assert 'Traceback' not in session.screen


def test_a_kernel_that_fails_is_shown():
    symbols = (lab.kernel() / 'System.map').read_text()
    address = int(re.search(r'^(\w+) T sys_sync$', symbols, re.M)[1], 16) & 0x3fffffff
    with Terminal('run', f'PORT={free_port()}') as session:
        session.expect(FIRST_PROMPT)
        # An undefined instruction where sys_sync begins.
        session.type(f'printf "\\017\\013" | dd of=/dev/mem bs=1 seek={address} conv=notrunc; sync\r')
        session.expect('make run: gateway: the kernel has failed')
        session.expect(r'invalid operand')
        assert session.ends() != 0
        all_end(session)
        assert 'Traceback' not in session.screen


@pytest.mark.parametrize('port', ['0', '65536', 'http', '80x'])
def test_a_port_that_is_none(port):
    with Terminal('run', f'PORT={port}') as session:
        session.expect(rf'^make run: PORT={port} is no port: choose one from 1 to 65535\nmake: .*\n')
        assert session.ends() != 0
        assert session.screen.count('\n') == 2


def test_run_is_for_a_terminal():
    run = subprocess.run(['make', 'run'], cwd=lab.TOP, env=ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=60 * PATIENCE)
    assert run.returncode != 0 and run.stdout == ''
    assert run.stderr.splitlines()[0].startswith('make run: this is for a person at a terminal')


@pytest.mark.parametrize('goal', ['demo', 'run'])
def test_a_kernel_that_is_none(goal):
    with Terminal(goal, 'V=2.0.41') as session:
        session.expect(r"'2\.0\.41' is not supported: 2\.0\.27 to 2\.0\.40 are\n")
        assert session.ends() != 0
        assert 'Traceback' not in session.screen
