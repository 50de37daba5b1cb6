# SPDX-License-Identifier: GPL-2.0-only
"""Dial-up: the outer interface gets another address under open connections. The
kernel can be told to move what is masqueraded to the new one
(/proc/sys/net/ipv4/ip_dynaddr); a forwarded connection has the address that the
client asked, or none."""

import pytest

import lab
from dialogue import Dialogue
from lab import IP, TCP, UDP
from lab.network import MASQUERADING

RULES = MASQUERADING + '''\
ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80
ipportfw -A -u194.160.1.1/525 -R 10.0.0.2/525
ipportfw -A -t0.0.0.0/8080 -R 10.0.0.2/8080
echo 7 >/proc/sys/net/ipv4/ip_dynaddr
'''
OLD, NEW = '194.160.1.1', '194.160.1.99'


@pytest.fixture(scope='module')
def net():
    with lab.example(server='station', rc=RULES) as net:
        yield net.boot()


@pytest.fixture(autouse=True)
def old_address(net):
    yield
    net.gateway.sh('ifconfig eth1:0 down', check=False)
    change(net, OLD)
    for station in net.client, net.server:
        station.inbox.clear()


def change(net, address):
    """The outer interface gets another address."""
    net.gateway.sh(f'ifconfig eth1 {address} netmask 255.255.255.0 broadcast 194.160.1.255')
    for network in '194.160.1.0', '163.158.1.0':
        net.gateway.sh(f'route add -net {network} netmask 255.255.255.0 dev eth1', check=False)


def masqueraded(net):
    """The source address of an inside client's packet, seen outside."""
    net.server.send(IP(dst=net.client.ip) / TCP(sport=1024, dport=23, flags='A', seq=5, ack=6))
    got = net.client.expect(TCP, dport=23)
    net.client.send(IP(dst=got[IP].src) / TCP(sport=23, dport=got.sport, flags='A', seq=6, ack=5))
    net.server.expect(TCP, sport=23, dport=1024)
    return got[IP].src


def asks(net, sport, layer=TCP):
    port = 80 if layer is TCP else 525
    return Dialogue(net.client, net.server, sport, port, port, layer=layer)


@pytest.mark.parametrize('layer', [TCP, UDP], ids=['tcp', 'udp'])
def test_dynaddr(net, layer):
    """What the client asked is what it hears, while masquerading moves."""
    assert masqueraded(net) == OLD
    it = asks(net, 1000, layer)
    if layer is TCP:
        it.open()
    it.talk()
    change(net, NEW)
    assert masqueraded(net) == NEW
    for _ in range(3):
        it.outward('PA', b'still from the address that was asked')
    change(net, OLD)
    it.talk()                       # dialled in again, with luck


def test_dynaddr_while_the_connection_is_half_open(net):
    """When even masquerading without ip_dynaddr's 4 moves."""
    it = asks(net, 1100)
    it.inward('S')
    change(net, NEW)
    it.outward('SA')


def test_the_old_address_lives_on_as_an_alias(net):
    it = asks(net, 1200).open()
    change(net, NEW)
    net.gateway.sh(f'ifconfig eth1:0 {OLD} netmask 255.255.255.0 broadcast 194.160.1.255')
    it.talk()
    it.close()
    asks(net, 1201).open().talk()


def test_a_rule_for_any_address_follows(net):
    """New connections to the new address; the old ones are not moved."""
    old = Dialogue(net.client, net.server, 1300, 8080, 8080).open()
    change(net, NEW)
    new = Dialogue(net.client, net.server, 1301, 8080, 8080, address=NEW).open()
    new.talk()
    old.outward('PA', b'from the old address')
    new.talk()


def test_a_rule_for_the_old_address_does_not(net):
    change(net, NEW)
    it = Dialogue(net.client, net.server, 1400, address=NEW)
    it.refused('S')
