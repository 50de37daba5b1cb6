# SPDX-License-Identifier: GPL-2.0-only
"""Memory: what the kernel grows by, and what rules and connections take."""

import collections
import re
import subprocess

import cost
import crowd
import lab

RULES = 1000
CONNECTIONS = 10_000
MASQUERADED = 4000


def added():
    """Bytes of text, data and bss that the option adds to the kernel."""
    on, off = (sizes(lab.kernel('2.0.40', flavour) / 'vmlinux') for flavour in ('on', 'off'))
    return tuple(a - b for a, b in zip(on, off))


def sizes(vmlinux):
    lines = subprocess.run(['size', vmlinux], check=True, capture_output=True, text=True).stdout.splitlines()
    return tuple(map(int, lines[1].split()[:3]))


# In a source: the title of a part, and a function.
PART = re.compile(r'^/\*\n \*\t([A-Z][\w ]*)\n \*/$|^\w[^\n;=]*\b(\w+)\([^;{}]*\)\n\{', re.M)


def parts():
    """What each function of ours is for: the part of the source it stands in."""
    found = {}
    for name, part in ('ip_portfw.c', 'Tables'), ('ip_portfw_ftp.c', 'FTP'):
        for title, function in PART.findall((lab.TOP / 'src/net/ipv4' / name).read_text()):
            part = title or part
            found.setdefault(function, part)
    return found


def functions(vmlinux):
    """Bytes of each function; of some of the same name together."""
    listed = subprocess.run(['nm', '-S', vmlinux], check=True, capture_output=True, text=True).stdout
    count = collections.Counter()
    for _, size, kind, name in (line for line in map(str.split, listed.splitlines()) if len(line) == 4):
        if kind in 'tT':
            count[name] += int(size, 16)
    return count


def text():
    """Bytes of text that the option adds, by what they are for, the most first."""
    on, off = (functions(lab.kernel('2.0.40', flavour) / 'vmlinux') for flavour in ('on', 'off'))
    on.subtract(off)
    known, count = parts(), collections.Counter()
    for name, more in on.items():
        count[known.get(name, 'calls in functions of the kernel')] += more
    count['strings, and gaps between functions'] = added()[0] - sum(count.values())
    return count.most_common()


def free(bench):
    """Bytes free, not counting what the kernel caches: 2.0 counts whole pages."""
    lines = bench.sh('cat /proc/meminfo').out.splitlines()
    row = dict(zip(lines[0].split(), map(int, lines[1].split()[1:])))
    return row['free:'] + row['buffers:'] + row['cached:']


def taken(bench, do):
    """The bytes that are less after do()."""
    before = free(bench)
    do()
    return before - free(bench)


def allocated():
    """Bytes taken by the first rule; by each of many; by each of many
    connections; and by each that stock masquerades."""
    add = {'/sbin/add_rules': crowd.program('add_rules')}
    with cost.Bench(rules=cost.MASQUERADING + cost.LIMITS, files=add) as bench:
        bench.sh('add_rules 80 0')                      # it is read from the disk once
        free(bench)
        first = taken(bench, lambda: bench.sh('add_rules 80 1'))
        rule = taken(bench, lambda: bench.sh(f'add_rules 10000 {RULES}')) / RULES
        clients = list(cost.clients(CONNECTIONS + MASQUERADED))
        cost.dial(bench, 6, clients[:MASQUERADED])      # all addresses are known then
        connection = taken(bench, lambda: cost.dial(bench, 6, clients[MASQUERADED:])) / CONNECTIONS
    with cost.Bench('stock') as bench:
        packets = [cost.packet(17, cost.SERVER, 1000 + port, cost.CLIENT, 9, 18) for port in range(MASQUERADED)]
        bench.server.pour(packets[:10], bench.client)
        free(bench)
        stock = taken(bench, lambda: bench.server.pour(packets[10:], bench.client)) / (MASQUERADED - 10)
    return first, rule, connection, stock
