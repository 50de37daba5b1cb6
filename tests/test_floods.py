# SPDX-License-Identifier: GPL-2.0-only
"""A small gateway under 200,000 packets of nobody: the honest notice nothing,
and what it costs has bounds."""

import random
import re
import socket

import pytest

import lab
from crowd import ACK, PSH, RST, STALL, SYN, Crowd, Honest, aton, connections, echo, tcp, udp
from lab.network import MASQUERADING
from memory import PAGE, books, comes_back, free

FLOOD = 200_000
PART = 10_000
MEMORY = 8                              # MB
HALF_OPEN = 1024
A_PAGE_HOLDS = 31                       # of the blocks that connections are in
# The tables, packets on their way, and 2.0's own memory of ways and neighbours.
FIXED = 64 * PAGE
RC = MASQUERADING + '''\
/sbin/ipfwadm -M -s 20 1 10
/usr/local/sbin/ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80
/usr/local/sbin/ipportfw -A -u194.160.1.1/525 -R 10.0.0.2/525
'''
GATEWAY = aton(lab.OUTSIDE)


@pytest.fixture(scope='module')
def net(namespaces):
    with lab.example(server='host', client='host', nic='tulip', rc=RC, via='163.158.1.9', memory=MEMORY,
                     free=512) as net:
        # All the rest of the world is behind one router.
        net.world = Crowd(net, net.outside, '163.158.1.9/24', lab.OUTSIDE)
        echo(net.server)
        net.boot()
        # A quarter of the memory that the kernel has found, at 128 bytes each.
        kilobytes = int(re.search(r'Memory: \d+k/(\d+)k available', net.gateway.console())[1])
        assert MEMORY * 1000 <= kilobytes <= MEMORY * 1024
        net.most = kilobytes // 4 * 8
        net.limits = f'connections {net.most}\nhalf_open {HALF_OPEN}\nhalf_open_timeout 60\n'
        # 2.0 gets to know its neighbours, once and for all.
        net.world.pour(frames(net, 'UDP', 100))
        Honest(net.client, 80).stop()
        yield net
        net.world.close()


def limits(net):
    return net.gateway.sh('cat /proc/net/ip_portfw_limits').out


def limit(net, line):
    """Set a limit; returns the exit status."""
    return net.gateway.sh(f"printf '{line}' | dd of=/proc/net/ip_portfw_limits bs=100 2>/dev/null", check=False).status


@pytest.fixture(autouse=True)
def as_at_first(net):
    yield
    for line in net.limits.splitlines():
        assert limit(net, line) == 0


def all_gone(net):
    lab.loop.wait(lambda: connections(net.gateway)[0] == 0, 180, 'all connections to be forgotten', poll=1)


def sources(seed, number):
    """Addresses of hosts in the world, and ports of theirs."""
    r = random.Random(seed)
    for _ in range(number):
        bits = r.getrandbits(48)
        # 1.0.0.0 to 9.255.255.255: nobody's but the world's
        yield bytes([1 + (bits & 0xff) % 9]) + (bits >> 8 & 0xffffff).to_bytes(3, 'big'), 1 + (bits >> 32) % 65535


def frames(net, kind, number=FLOOD):
    head, r = net.world.ethernet(), random.Random(kind)
    for source, port in sources(kind, number):
        seq = r.getrandbits(32)
        if kind == 'UDP':
            yield head + udp(source, port, GATEWAY, 525, b'anybody?')
        else:
            flags, ack = {'SYN': (SYN, 0), 'ACK': (r.choice((ACK, PSH | ACK)), r.getrandbits(32)),
                          'RST': (r.choice((RST, RST | ACK)), r.getrandbits(32))}[kind]
            yield head + tcp(source, port, GATEWAY, 80, flags, seq, ack)


# How many connections each may cost: of UDP all that there may be, for it is
# answered; and the honest ones'.
@pytest.mark.parametrize('kind, most', [('SYN', HALF_OPEN), ('UDP', None), ('ACK', HALF_OPEN), ('RST', 0)])
def test_a_flood(net, kind, most):
    limit(net, 'half_open_timeout 10')
    all_gone(net)
    before, used, came = free(net.gateway), books(net.gateway), net.world.came
    honest = [Honest(net.client, 80), Honest(net.client, 525, socket.SOCK_DGRAM), Honest(net.client, 80, again=True)]
    flood, least = frames(net, kind), before
    for _ in range(FLOOD // PART):
        turns = [one.turns for one in honest]
        net.world.pour(frame for frame, _ in zip(flood, range(PART)))
        least = min(least, free(net.gateway))
        assert '(free=4096,4096,4096)' in net.gateway.sh('head -n 1 /proc/net/ip_masquerade').out
        lab.loop.wait(lambda: all(one.turns > before for one, before in zip(honest, turns)), STALL,
                      'each of the honest to get an answer', poll=0.01)
    assert next(flood, None) is None
    turns = [one.stop() for one in honest]
    number, ports = connections(net.gateway, but=lab.CLIENT)
    assert Honest(net.client, 80).stop() > 0
    print(f'{kind}: {turns} exchanges of the honest, {number} connections in the end, '
          f'{(before - least) // 1024} KB, {net.world.came - came} answers')
    most = net.most if most is None else most
    assert most / 2 <= number <= most and ports == [4096] * 3
    # The honest have theirs besides.
    assert before - least <= ((most + 2 + turns[2]) // A_PAGE_HOLDS + 1) * PAGE + FIXED
    if kind != 'RST':
        assert net.world.came - came > FLOOD / 10       # the host inside did answer
    all_gone(net)
    comes_back(net.gateway, used)


def test_the_limits_say_what_they_are(net):
    assert limits(net) == net.limits
    assert net.gateway.sh('ls -l /proc/net/ip_portfw_limits').out.startswith('-rw-r--r--')
    for size in 1, 7:
        assert net.gateway.sh(f'dd if=/proc/net/ip_portfw_limits bs={size} 2>/dev/null').out == net.limits


@pytest.mark.parametrize('line', [
    'connections 15', 'connections 1048577', 'half_open 0', 'half_open 65537', 'half_open_timeout 0',
    'half_open_timeout 3601', 'half_open', 'half_open ', 'half_open -1', 'half_open +5', 'half_open 5x', 'half_open x',
    'half_open 4294967297', 'half_open 18446744073709551617', 'half_open 5 5', 'half_open  5', ' half_open 5',
    'half_openn 5', 'half 5', 'HALF_OPEN 5', '5', '', '\\n', 'half_open 5\\nhalf_open 6\\n',
    'half_open 00000000000000000000000000000000005', r'half_open\000 5', r'half_open 5\000', '=' * 90])
def test_a_limit_that_makes_no_sense(net, line):
    # What a shell writes of nothing is nothing.
    assert limit(net, line) == (line != '')
    assert limits(net) == net.limits


@pytest.mark.parametrize('line', ['connections 16', 'connections 1048576', 'half_open 1', 'half_open 65536',
                                  'half_open_timeout 1', 'half_open_timeout 3600'])
@pytest.mark.parametrize('end', ['', '\\n'], ids=['bare', 'line'])
def test_the_edges_of_the_limits(net, line, end):
    assert limit(net, line + end) == 0
    assert line + '\n' in limits(net)


def test_half_open_ones_are_limited(net):
    limit(net, 'half_open_timeout 5')
    all_gone(net)
    limit(net, 'half_open 100')
    net.world.pour(frames(net, 'SYN', 500))
    assert connections(net.gateway)[0] == 100
    limit(net, 'half_open 7')
    assert connections(net.gateway)[0] == 7


def test_half_open_ones_are_soon_forgotten(net):
    limit(net, 'half_open_timeout 2')
    all_gone(net)
    net.world.pour(frames(net, 'SYN', 50))
    assert connections(net.gateway)[0] == 50
    all_gone(net)


def test_all_connections_are_limited(net):
    all_gone(net)
    limit(net, 'half_open 50')
    limit(net, 'connections 300')
    # First come those that prove themselves: they stay.
    honest = [Honest(net.client, 525, socket.SOCK_DGRAM) for _ in range(10)]
    net.world.pour(frames(net, 'UDP', 2000))
    assert connections(net.gateway)[0] == 300
    limit(net, 'connections 100')
    assert connections(net.gateway)[0] == 100
    net.world.pour(frames(net, 'UDP', 2000))
    for one in honest:
        before = one.turns
        lab.loop.wait(lambda: one.turns > before, STALL, 'an answer', poll=0.01)
        one.stop()
    assert connections(net.gateway)[0] == 100
    assert Honest(net.client, 525, socket.SOCK_DGRAM).stop() > 0
