# SPDX-License-Identifier: GPL-2.0-only
"""Until it is answered, a connection is half open: its time is short, and only
an answer makes it longer."""

import itertools

import pytest

import lab
from lab import IP, TCP, UDP

HZ = 100
HALF_OPEN, UDP_TIMEOUT, TCP_TIMEOUT, RST = 60 * HZ, 300 * HZ, 900 * HZ, 10 * HZ
MOST = 1024
guessers = itertools.count(100)


@pytest.fixture(scope='module')
def net():
    with lab.example(server='station') as net:
        yield net.boot()


def expires(net, sport):
    """The ticks until the connection is forgotten, or None."""
    for line in net.gateway.sh('cat /proc/net/ip_masquerade').out.splitlines()[1:]:
        fields = line.split()
        if fields[2].endswith(f':{sport:04X}'):
            return int(fields[-1])
    return None


def inward(net, packet):
    net.client.send(IP(dst='194.160.1.1') / packet)
    return net.server.expect(type(packet), sport=packet.sport, dport=packet.dport)


def outward(net, packet):
    net.server.send(IP(dst='163.158.1.2') / packet)
    return net.client.expect(type(packet), sport=packet.sport, dport=packet.dport)


def test_udp_without_an_answer_counts_from_the_first_datagram(net):
    inward(net, UDP(sport=1, dport=525))
    first = expires(net, 1)
    assert 0 < first <= HALF_OPEN
    for _ in range(5):
        now = expires(net, 1)
        inward(net, UDP(sport=1, dport=525))
        assert expires(net, 1) <= now
    outward(net, UDP(sport=525, dport=1))
    assert HALF_OPEN < expires(net, 1) <= UDP_TIMEOUT


def test_tcp_is_open_when_the_client_has_taken_up_the_answer(net):
    inward(net, TCP(sport=2, dport=80, flags='S', seq=1))
    first = expires(net, 2)
    outward(net, TCP(sport=80, dport=2, flags='SA', seq=1, ack=2))
    inward(net, TCP(sport=2, dport=80, flags='S', seq=1))
    assert expires(net, 2) <= first <= HALF_OPEN
    inward(net, TCP(sport=2, dport=80, flags='A', seq=2, ack=2))
    assert HALF_OPEN < expires(net, 2) <= TCP_TIMEOUT


@pytest.mark.parametrize('guess', [0, 1_000_001 - 65_536, 1_000_001 + 65_536, 0x80000000])
def test_who_has_not_seen_the_answer_cannot_open_it(net, guess):
    sport = next(guessers)
    inward(net, TCP(sport=sport, dport=80, flags='S', seq=1))
    outward(net, TCP(sport=80, dport=sport, flags='SA', seq=1_000_000, ack=2))
    inward(net, TCP(sport=sport, dport=80, flags='A', seq=2, ack=guess))
    assert expires(net, sport) <= HALF_OPEN
    inward(net, TCP(sport=sport, dport=80, flags='A', seq=2, ack=1_000_001))
    assert HALF_OPEN < expires(net, sport) <= TCP_TIMEOUT


@pytest.fixture
def clients_by_an_alias(net):
    """Of the outer interface: another name of the same wire."""
    net.gateway.sh('ifconfig eth1:0 194.160.1.9 netmask 255.255.255.0 broadcast 194.160.1.255; '
                   'route del -net 163.158.1.0; route add -net 163.158.1.0 netmask 255.255.255.0 dev eth1:0')
    yield
    net.gateway.sh('ifconfig eth1:0 down; route add -net 163.158.1.0 netmask 255.255.255.0 dev eth1')


def test_nobody_on_the_outer_wire_answers_for_the_server(net):
    nobody_answers(net)


def test_nor_if_clients_are_reached_by_an_alias(net, clients_by_an_alias):
    nobody_answers(net)


def nobody_answers(net):
    """But the server does."""
    sport = next(guessers)
    inward(net, TCP(sport=sport, dport=80, flags='S', seq=1))
    for flags in 'SA', 'S', 'PA', 'R':
        forged = IP(src='10.0.0.2', dst='163.158.1.2') / TCP(sport=80, dport=sport, flags=flags, seq=1_000_000, ack=2)
        net.client.send(forged, to='194.160.1.1')
    net.client.expect_nothing('194.160.1.1', TCP, dport=sport)
    inward(net, TCP(sport=sport, dport=80, flags='A', seq=2, ack=1_000_001))
    assert expires(net, sport) <= HALF_OPEN
    outward(net, TCP(sport=80, dport=sport, flags='SA', seq=1_000_000, ack=2))
    inward(net, TCP(sport=sport, dport=80, flags='A', seq=2, ack=1_000_001))
    assert expires(net, sport) > HALF_OPEN


def test_a_reset_shortens_it_until_something_else_comes(net):
    inward(net, TCP(sport=3, dport=80, flags='S', seq=1))
    outward(net, TCP(sport=80, dport=3, flags='SA', seq=1, ack=2))
    inward(net, TCP(sport=3, dport=80, flags='A', seq=2, ack=2))
    inward(net, TCP(sport=3, dport=80, flags='R', seq=99))
    assert expires(net, 3) <= RST
    outward(net, TCP(sport=80, dport=3, flags='PA', seq=2, ack=2))
    assert HALF_OPEN < expires(net, 3) <= TCP_TIMEOUT


def test_the_oldest_gives_way(net):
    inward(net, UDP(sport=4, dport=525))
    outward(net, UDP(sport=525, dport=4))
    inward(net, UDP(sport=5, dport=525))
    for sport in range(10_000, 10_000 + MOST):
        net.client.send(IP(dst='194.160.1.1') / UDP(sport=sport, dport=525))
        if sport % 8 == 0:
            net.client.ping('194.160.1.1')      # no more than its card can hold
    net.client.ping('194.160.1.1')
    assert expires(net, 5) is None
    assert expires(net, 4) is not None
    assert expires(net, 10_000) is not None and expires(net, 10_000 + MOST - 1) is not None
