# SPDX-License-Identifier: GPL-2.0-only
"""Memory: what the kernel grows by, and what rules and connections take."""

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
