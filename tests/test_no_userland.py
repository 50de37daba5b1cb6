# SPDX-License-Identifier: GPL-2.0-only
"""The gateway goes on forwarding when nobody can log in any more."""

import pytest

import lab
from lab import IP, TCP


@pytest.fixture
def net():
    with lab.example(server='station') as net:
        yield net.boot()


def exchange(net, sport, flags, seq):
    """A segment inward and the answer outward."""
    net.client.send(IP(dst='194.160.1.1') / TCP(sport=sport, dport=80, flags=flags, seq=seq) / b'question')
    net.server.expect(TCP, sport=sport, dport=80, src='163.158.1.2', seq=seq)
    net.server.send(IP(dst='163.158.1.2') / TCP(sport=80, dport=sport, flags='SA' if flags == 'S' else 'A',
                                               seq=77, ack=seq + 1) / b'answer')
    net.client.expect(TCP, sport=80, dport=sport, src='194.160.1.1', ack=seq + 1)


def knock(net, sport):
    """The flags of the gateway's own answer at a port that isn't forwarded."""
    net.client.send(IP(dst='194.160.1.1') / TCP(sport=sport, dport=8081, flags='S'))
    return str(net.client.expect(TCP, sport=8081, dport=sport).payload.payload.flags)


def test_with_every_process_dead(net):
    exchange(net, 7890, 'S', 1)
    net.gateway.sh('httpd -p 8081 -h /tmp')
    assert knock(net, 5000) == 'SA'

    # Init kills all others, and does nothing any more.
    with pytest.raises(lab.Late):
        net.gateway.sh('kill -USR1 1; read survived', timeout=3)
    with pytest.raises(lab.Late):
        net.gateway.sh('echo is there a shell?', timeout=3)
    assert knock(net, 5001) == 'RA'

    exchange(net, 7890, 'A', 2)
    for sport in range(8000, 8050):
        exchange(net, sport, 'S', 1)
    exchange(net, 7890, 'A', 3)
