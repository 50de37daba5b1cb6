# SPDX-License-Identifier: GPL-2.0-only
"""All memory comes back."""

import pytest

import lab
from lab import IP, TCP, UDP
from memory import books, comes_back, words

CYCLES = 1000


@pytest.fixture
def net():
    with lab.example(server='station', rc='''\
/sbin/ipfwadm -F -p deny
/sbin/ipfwadm -F -a masquerade -S 10.0.0.0/8 -D 0.0.0.0/0
/sbin/ipfwadm -M -s 1 1 1
''') as net:
        yield net.boot()


def settled(gateway):
    """Wait until no connection is left."""
    gateway.until('[ $(wc -l </proc/net/ip_masquerade) = 1 ]', timeout=120)


def cycles(gateway, number):
    """Rules are made and cleared that many times."""
    gateway.sh(f'i=0; while [ $i -lt {number} ]; do '
               'ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80; ipportfw -A -u0.0.0.0/525 -R 10.0.0.2/525; '
               'ipportfw -C; i=$((i+1)); done', timeout=600)


def connections(net, sports):
    """Rules are made, a TCP and a UDP connection begun, used and ended for each
    port, and the rules cleared."""
    net.gateway.sh('ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80; ipportfw -A -u0.0.0.0/525 -R 10.0.0.2/525')
    for sport in sports:
        for flags, answer in ('S', 'SA'), ('FA', 'FA'), ('A', 'A'):
            net.client.send(IP(dst='194.160.1.1') / TCP(sport=sport, dport=80, flags=flags))
            net.server.expect(TCP, sport=sport)
            net.server.send(IP(dst='163.158.1.2') / TCP(sport=80, dport=sport, flags=answer))
            net.client.expect(TCP, dport=sport)
        net.client.send(IP(dst='194.160.1.1') / UDP(sport=sport, dport=525))
        net.server.expect(UDP, sport=sport)
        net.server.send(IP(dst='163.158.1.2') / UDP(sport=525, dport=sport))
        net.client.expect(UDP, dport=sport)
    net.gateway.sh('ipportfw -C')


def test_rules_leave_nothing_behind(net):
    cycles(net.gateway, 20)
    settled(net.gateway)
    before = books(net.gateway)
    cycles(net.gateway, CYCLES)
    comes_back(net.gateway, before)


def test_connections_leave_nothing_behind(net):
    connections(net, range(1000, 1100))
    settled(net.gateway)
    before = books(net.gateway)
    for cycle in range(10):
        connections(net, range(2000, 2100))
    settled(net.gateway)
    comes_back(net.gateway, before)


def test_before_the_first_rule_there_is_nothing(net):
    """The pointer to all we have allocated, looked at in the kernel itself."""
    def something():
        return words(net.gateway, 'ip_portfw_active') != (0,)

    assert not something()
    connections(net, [1000])
    net.gateway.sh('ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80')
    assert something()
    net.gateway.sh('ipportfw -C')
    settled(net.gateway)
    assert not something()
