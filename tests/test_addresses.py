# SPDX-License-Identifier: GPL-2.0-only
"""Whose address is whose: which of the gateway's a rule is about, and which
clients there cannot be."""

import pytest

import lab
from doors import ALIAS, ALIAS_RC, VERSIONS, Conversation, Door, expires, for_a_while, sends, takes
from lab import ICMP, IP, TCP, UDP
from lab.network import MASQUERADING

THIRD, SPARE, COLLEAGUE = '194.160.1.7', '192.0.2.1', '10.0.0.5'
# One more address, inside.
SPARE_RC = f'''\
/sbin/ifconfig eth0:0 {SPARE} netmask 255.255.255.0 broadcast 192.0.2.255
/sbin/route add -host {SPARE} dev eth0:0
'''
LAYERS = pytest.mark.parametrize('layer', [TCP, UDP], ids=['TCP', 'UDP'])


@pytest.fixture(scope='module', params=VERSIONS)
def net(request):
    rc = MASQUERADING + ALIAS_RC + SPARE_RC
    with lab.example(lab.kernel(request.param), server='station', rc=rc) as net:
        net.colleague = net.station(net.inside, f'{COLLEAGUE}/24', via=lab.INSIDE)
        net.client.via = lab.OUTSIDE
        yield net.boot()


@pytest.fixture(autouse=True)
def no_rules(net):
    net.gateway.sh('ipportfw -C')
    for station in net.client, net.server, net.colleague:
        station.inbox.clear()


class Ports:
    """Every client has a port of its own."""

    last = 2000

    @classmethod
    def next(cls):
        cls.last += 1
        return cls.last


def rules(net, *doors):
    net.gateway.sh('; '.join(door.rule for door in doors))


def first(door, sport=None, **ip):
    """A packet that a client would begin with."""
    return door.query(sport or Ports.next(), b'' if door.layer is TCP else b'question', ip=ip,
                      **({'flags': 'S'} if door.layer is TCP else {}))


def works(net, *doors):
    """Each leads where it should, and answers carry the address asked."""
    for door in doors:
        talk = Conversation(net, door, Ports.next())
        talk.ask(b'and so on')
        talk.answer(b'and on')


def is_the_gateways(net, layer, address, port):
    """Nobody listens at that address: the gateway says so itself."""
    sport = Ports.next()
    net.client.send(first(Door(layer, address, port, 0), sport))
    if layer is TCP:
        assert net.client.expect(TCP, sport=port, dport=sport, src=address)[TCP].flags == 'RA'
    else:
        assert net.client.expect(ICMP, type=3, code=3, src=address)[ICMP].payload.dst == address
    net.server.expect_nothing(lab.INSIDE, layer)


def is_not_forwarded(net, station, door, frame):
    """Nothing comes out inside, and no connection is begun."""
    station.send_raw(frame)
    station.ping(lab.INSIDE if station is net.colleague else lab.OUTSIDE)
    net.server.expect_nothing(lab.INSIDE, door.layer)
    assert expires(net.gateway, door.layer, Ports.last) is None


def received(net):
    """The number of IP packets that the gateway has heard."""
    return int(net.gateway.sh("grep '^Ip: [0-9]' /proc/net/snmp").out.split()[3])


# Which of the gateway's

@LAYERS
def test_a_rule_for_one_address_leaves_the_others_alone(net, layer):
    one, other = Door(layer, lab.OUTSIDE, 80, 80), Door(layer, ALIAS, 81, 80)
    rules(net, one, other)
    works(net, one, other)
    is_the_gateways(net, layer, ALIAS, 80)
    is_the_gateways(net, layer, lab.OUTSIDE, 81)


def test_the_gateways_own_server_is_reached_by_its_other_address(net):
    door = Door(TCP, lab.OUTSIDE, 80, 80)
    rules(net, door)
    pid = net.gateway.background('httpd -f -h /tmp')
    net.gateway.until('netstat -t -l -n | grep -q :80')
    sport = Ports.next()
    net.client.send(first(Door(TCP, ALIAS, 80, 80), sport))
    assert net.client.expect(TCP, sport=80, dport=sport, src=ALIAS)[TCP].flags == 'SA'
    net.client.send(IP(dst=ALIAS) / TCP(sport=sport, dport=80, flags='R', seq=1))
    works(net, door)
    net.gateway.sh(f'kill {pid}')


@LAYERS
def test_one_port_of_two_addresses(net, layer):
    doors = [Door(layer, lab.OUTSIDE, 80, 1000), Door(layer, ALIAS, 80, 2000)]
    rules(net, *doors)
    sport = Ports.next()
    talks = [Conversation(net, door, sport) for door in doors]
    for talk in talks:
        talk.answer(b'this is mine')


@LAYERS
def test_any_address(net, layer):
    rules(net, Door(layer, '0.0.0.0', 90, 9000))
    works(net, *(Door(layer, '0.0.0.0', 90, 9000, asked=address)
                 for address in (lab.OUTSIDE, ALIAS, SPARE, lab.INSIDE)))


@LAYERS
@pytest.mark.parametrize('order', [1, -1], ids=['exact first', 'any first'])
def test_the_exact_rule_wins(net, layer, order):
    exact = Door(layer, lab.OUTSIDE, 92, 9201)
    anywhere = [Door(layer, '0.0.0.0', 92, 9200, asked=address) for address in (ALIAS, lab.OUTSIDE)]
    rules(net, *[exact, anywhere[0]][::order])
    works(net, exact, anywhere[0])
    net.gateway.sh(f'ipportfw -D {exact.name}')
    works(net, *anywhere)
    rules(net, exact)
    net.gateway.sh(f'ipportfw -D {anywhere[0].name}')
    works(net, exact)
    is_the_gateways(net, layer, ALIAS, 92)


@LAYERS
def test_an_address_that_comes_and_goes(net, layer):
    """As a dial-up line's does."""
    rules(net, Door(layer, '0.0.0.0', 93, 9300))
    door = Door(layer, '0.0.0.0', 93, 9300, asked=THIRD)
    is_not_forwarded(net, net.client, door, net.client.frame(first(door), to=lab.OUTSIDE))
    with for_a_while(net, f'ifconfig eth1:1 {THIRD} netmask 255.255.255.0', 'ifconfig eth1:1 down'):
        talk = Conversation(net, door, Ports.next())
        talk.answer(b'here now')
    is_not_forwarded(net, net.client, door, net.client.frame(first(door), to=lab.OUTSIDE))
    works(net, Door(layer, '0.0.0.0', 93, 9300, asked=lab.OUTSIDE))


@LAYERS
@pytest.mark.parametrize('address', ['127.0.0.1', '127.1.2.3', '194.160.1.255', '10.0.0.255', '192.0.2.255',
                                     '255.255.255.255', '0.0.0.0', '224.0.0.1', '163.158.1.77'])
def test_any_address_is_one_of_a_host_and_the_gateways(net, layer, address):
    rules(net, Door(layer, '0.0.0.0', 94, 9400))
    door = Door(layer, '0.0.0.0', 94, 9400, asked=address)
    is_not_forwarded(net, net.client, door, net.client.frame(first(door), to=lab.OUTSIDE))


@LAYERS
def test_transit_packets_are_not_taken(net, layer):
    """Not even while an interface has no address yet, when the kernel takes all
    addresses for its own (and cannot even answer a ping)."""
    rules(net, Door(layer, '0.0.0.0', 95, 9500))
    outward, inward = (Door(layer, '0.0.0.0', 95, 9500, asked=address) for address in (lab.CLIENT, COLLEAGUE))
    frames = [(net.colleague, net.colleague.frame(first(outward), to=lab.INSIDE)),
              (net.client, net.client.frame(first(inward), to=lab.OUTSIDE))]
    before = received(net)
    with for_a_while(net, 'ifconfig eth0 0.0.0.0', f'ifconfig eth0 {lab.INSIDE} netmask 255.255.255.0 '
                     'broadcast 10.0.0.255; route add -net 10.0.0.0 netmask 255.255.255.0 dev eth0\n' + SPARE_RC):
        for station, frame in frames:
            station.send_raw(frame)
        net.gateway.until(f"grep -q '^Ip: [0-9]* [0-9]* {before + 2} ' /proc/net/snmp")
        assert [expires(net.gateway, layer, Ports.last - n) for n in range(2)] == [None, None]
    works(net, Door(layer, '0.0.0.0', 95, 9500, asked=lab.OUTSIDE))
    sent = sends(net.colleague, first(outward))
    came = net.client.expect(IP, id=sent.id)
    assert came[IP].src == lab.OUTSIDE and came[layer].dport == 95 and came[layer].sport >= 61000


@LAYERS
def test_a_rule_for_an_address_of_others_takes_nothing_in_transit(net, layer):
    door = Door(layer, lab.CLIENT, 96, 9600)
    rules(net, door)
    sent = sends(net.colleague, first(door))
    assert net.client.expect(IP, id=sent.id)[layer].dport == 96
    net.server.expect_nothing(lab.INSIDE, layer)


# Which clients

@LAYERS
@pytest.mark.parametrize('source', [
    '0.0.0.0', '0.1.2.3', '127.0.0.1', '127.9.9.9', '224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255',
    '194.160.1.255', '10.0.0.255', '192.0.2.255', lab.OUTSIDE, lab.INSIDE, ALIAS, SPARE, lab.SERVER])
def test_clients_that_cannot_be(net, layer, source):
    """Their packets are dropped: not forwarded, and not answered."""
    exact, anywhere = Door(layer, lab.OUTSIDE, 97, 9700), Door(layer, '0.0.0.0', 98, 9800, asked=ALIAS)
    rules(net, exact, anywhere)
    with net.inside.capture() as inside, net.outside.capture() as outside:
        for door in exact, anywhere:
            is_not_forwarded(net, net.client, door, net.client.frame(first(door, src=source)))
    for frames, sent in (inside, 0), (outside, 2):
        assert len(frames.only(layer)) == sent and not frames.only(ICMP, where=lambda p: p[ICMP].type not in (0, 8))


@LAYERS
@pytest.mark.parametrize('mac', ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '52:54:00:99:99:99'])
def test_frames_for_others(net, layer, mac):
    """Although the gateway hears them (somebody listens to all frames there):
    they begin no connection, and are not part of one."""
    door = Door(layer, lab.OUTSIDE, 99, 9900)
    rules(net, door)
    talk = Conversation(net, door, Ports.next())

    def astray(packet):
        return bytes.fromhex(mac.replace(':', '')) + net.client.frame(packet)[6:]

    with for_a_while(net, 'ifconfig eth1 promisc', 'ifconfig eth1 -promisc'):
        before = received(net)
        for _ in range(8):
            net.client.send_raw(astray(talk.query(b'not for you')))
        net.client.ping(lab.OUTSIDE)
        assert received(net) >= before + 9
        net.server.expect_nothing(lab.INSIDE, layer)
        is_not_forwarded(net, net.client, door, astray(first(door)))
    sent = sends(net.client, talk.query(b'for you'))
    takes(net.server, door.inward(sent))
