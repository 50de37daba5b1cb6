# SPDX-License-Identifier: GPL-2.0-only
"""Others who want the same port: a transparent proxy's redirection wins, and an
ipautofw rule loses, but keeps the connections that it has. (2.0.30 as it came,
without our patch, refuses what it redirects, and lets ipautofw have one
connection a port: answers of another come from port 61000 on.)"""

import socket
import struct
import subprocess

import pytest

import lab
from dialogue import Dialogue
from lab import IP, TCP, UDP

VERSIONS = [version for version in lab.GROUPS if version >= '2.0.30'] if lab.ALL else ['2.0.40']
AUTOFW_ADD, AUTOFW_FLUSH = 65 | 5 << 8, 67 | 5 << 8
RANGE, PORT = 1, 2


@pytest.fixture(scope='module', params=VERSIONS)
def net(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp('proxy')
    fragment, program = folder / 'proxy', folder / 'setsockopt'
    fragment.write_text('CONFIG_IP_TRANSPARENT_PROXY=y\nCONFIG_IP_MASQUERADE_IPAUTOFW=y\n')
    kernel = lab.kernel(request.param, 'on', fragment)
    subprocess.run([lab.guest() / 'bin/guest-cc', '-o', program, lab.TOP / 'tests/guest/setsockopt.c'], check=True)
    with lab.example(kernel, server='station', files={'/bin/setsockopt': program.read_bytes()}) as net:
        net.broken = request.param == '2.0.30'
        net.other = net.station(net.inside, '10.0.0.3/24', via='10.0.0.1')
        yield net.boot()


@pytest.fixture(autouse=True)
def clean(net):
    yield
    net.gateway.sh(f'ipfwadm -I -f; setsockopt {AUTOFW_FLUSH} 00; ipportfw -C;'
                   'ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80; ipportfw -A -u194.160.1.1/525 -R 10.0.0.2/525')


# A transparent proxy

def asks_the_proxy(net, sport):
    """The gateway's own program answers, from the address that was asked."""
    ask = Dialogue(net.client, net.server, sport)
    syn = ask.send_inward('S')
    answer = net.client.expect(TCP, src='194.160.1.1', sport=80, dport=sport)
    assert answer[TCP].flags == ('RA' if net.broken else 'SA') and answer.ack == syn[TCP].seq + 1
    if net.broken:
        return ask.nothing_inward()
    net.client.send(IP(dst='194.160.1.1') / TCP(sport=sport, dport=80, flags='A', seq=answer.ack, ack=answer.seq + 1))
    net.client.send(IP(dst='194.160.1.1') / TCP(
        sport=sport, dport=80, flags='PA', seq=answer.ack, ack=answer.seq + 1) / b'proxy?')
    net.client.expect(TCP, sport=80, dport=sport, where=lambda p: b'proxy?' in bytes(p[TCP].payload))
    net.client.send(IP(dst='194.160.1.1') / TCP(sport=sport, dport=80, flags='R', seq=answer.ack + 6))
    ask.nothing_inward()


def test_a_redirection_wins(net):
    proxy = net.gateway.background('tcpsvd 0.0.0.0 3128 cat')
    try:
        net.gateway.until('netstat -t -a -n | grep -q :3128')
        Dialogue(net.client, net.server, 1000).open().talk()
        net.gateway.sh('ipfwadm -I -a accept -P tcp -D 194.160.1.1 80 -r 3128')
        asks_the_proxy(net, 1001)
        net.gateway.sh('ipportfw -C; ipportfw -A -t0.0.0.0/80 -R 10.0.0.2/80')
        asks_the_proxy(net, 1002)
        net.gateway.sh('ipfwadm -I -f')
        Dialogue(net.client, net.server, 1003).open().talk()
    finally:
        net.gateway.sh(f'kill {proxy}')


def test_what_is_not_redirected_is_forwarded(net):
    """The other protocol, and other clients."""
    net.gateway.sh('ipfwadm -I -a accept -P tcp -S 163.158.1.77 -D 194.160.1.1 80 -r 3128')
    Dialogue(net.client, net.server, 1100).open().talk()
    Dialogue(net.client, net.server, 1100, 525, 525, layer=UDP).talk()


# ipautofw

def autofw(net, kind, port, layer):
    """A rule of ipautofw's: a port, or a range of one, goes to net.other."""
    protocol = 6 if layer is TCP else 17
    low, hidden, high, visible = (port, 0, port, 0) if kind == RANGE else (0, port, 0, port)
    rule = struct.pack('<IHHHHHHI4sHHHxx20x', 0, kind, low, hidden, high, visible, protocol, 0,
                       socket.inet_aton('10.0.0.3'), 0, 0, 0)
    net.gateway.sh(f'setsockopt {AUTOFW_ADD} {rule.hex()}')


@pytest.mark.parametrize('layer', [TCP, UDP], ids=['tcp', 'udp'])
@pytest.mark.parametrize('kind', [PORT, RANGE], ids=['port', 'range'])
def test_a_rule_of_ours_wins_over_ipautofw(net, kind, layer):
    """For new connections: an older one stays where it is."""
    port, sport = 8000 + kind, 1200 + 10 * kind
    rule = f'-{layer.__name__[0].lower()}194.160.1.1/{port}'

    def asks(server, sport):
        return Dialogue(net.client, server, sport, port, port, layer=layer)

    def begun(it):
        return it.open() if layer is TCP else it

    autofw(net, kind, port, layer)
    old = begun(asks(net.other, sport))
    old.talk()
    net.gateway.sh(f'ipportfw -A {rule} -R 10.0.0.2/{port}')
    old.talk()
    new = begun(asks(net.server, sport + 1))
    new.talk()
    old.talk()
    net.gateway.sh(f'ipportfw -D {rule}')
    newer = asks(net.other, sport + 2)
    if net.broken:
        newer.inward('S')
    else:
        begun(newer).talk()
    for it in (old, new) if net.broken else (old, new, newer):
        it.talk()


def test_ipautofw_keeps_its_other_ports(net):
    autofw(net, PORT, 8010, TCP)
    net.gateway.sh('ipportfw -A -t194.160.1.1/8011 -R 10.0.0.2/8011')
    theirs = Dialogue(net.client, net.other, 1300, 8010, 8010).open()
    ours = Dialogue(net.client, net.server, 1300, 8011, 8011).open()
    for it in theirs, ours, theirs:
        it.talk()
