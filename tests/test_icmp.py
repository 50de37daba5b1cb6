# SPDX-License-Identifier: GPL-2.0-only
"""ICMP errors about forwarded packets: whoever gets one sees the packet that
it sent itself, and nothing of what lies behind the gateway."""

import contextlib
import itertools
import socket

import pytest
from scapy.layers.inet import IPOption

import lab
from doors import ALIAS, ALIAS_RC, VERSIONS, Conversation, Door, changed, for_a_while, next_id, sends
from lab import ICMP, IP, TCP, UDP
from lab.frames import ones_sum
from lab.network import MASQUERADING

DOORS = [
    Door(TCP, lab.OUTSIDE, 80, 80),
    Door(UDP, lab.OUTSIDE, 525, 525),
    Door(TCP, lab.OUTSIDE, 8080, 3128),
    Door(UDP, ALIAS, 5250, 53),
    Door(TCP, '0.0.0.0', 90, 9000, asked=ALIAS),
    Door(UDP, '0.0.0.0', 91, 9100, asked=lab.OUTSIDE),
]
# Hosts that are not there: no route, and nobody who answers ARP.
UNROUTED = [Door(TCP, lab.OUTSIDE, 81, 800, host='10.9.0.1'), Door(UDP, ALIAS, 82, 801, host='10.9.0.1')]
DEAD = [Door(TCP, lab.OUTSIDE, 83, 800, host='10.0.0.99'), Door(UDP, ALIAS, 84, 801, host='10.0.0.99')]
# By way of a router on the client's own wire: worth a redirect to others.
BEHIND = Door(UDP, lab.OUTSIDE, 85, 802, host='10.7.0.1')
RULES = [*DOORS, *UNROUTED, *DEAD, BEHIND]

ERRORS = [dict(type=3, code=4, nexthopmtu=576), dict(type=3, code=1), dict(type=3, code=3), dict(type=4, code=0),
          dict(type=11, code=0), dict(type=12, code=0, ptr=20)]
OUTER_ROUTER, INNER_ROUTER = '198.51.100.7', '10.0.0.9'
DATA = bytes(range(256)) * 4
LEAST, MOST = 28, 548           # bytes of a packet that an error quotes
sports = itertools.count(2000)


@pytest.fixture(scope='module', params=VERSIONS)
def net(request):
    rc = MASQUERADING + ALIAS_RC + '/sbin/route add -net 10.7.0.0 netmask 255.255.0.0 gw 10.0.0.9\n'
    files = {'/etc/rules': ''.join(f'{door.rule}\n' for door in RULES)}
    with lab.example(lab.kernel(request.param), server='station', rc=rc + '. /etc/rules\n', files=files) as net:
        net.router = net.station(net.inside, f'{INNER_ROUTER}/24', via=lab.INSIDE)
        net.colleague = net.station(net.inside, '10.0.0.5/24', via=lab.INSIDE)
        net.boot()
        for door in DEAD:       # the last test asks how this has ended
            net.client.send(door.query(1024, flags='S') if door.layer is TCP else door.query(1024))
        yield net


@pytest.fixture(params=DOORS, ids=str)
def door(request):
    return request.param


@pytest.fixture
def talk(net, door):
    net.client.inbox.clear()
    net.server.inbox.clear()
    return Conversation(net, door, next(sports))


def quote(packet, length=MOST):
    """The beginning of a packet, as a router some hops on would quote it."""
    return bytes(hops_on(packet, packet.ttl - 7))[:length]


def hops_on(packet, ttl):
    """The packet with another TTL, and whatever sum its payload had."""
    packet = packet.copy()
    packet.ttl = ttl
    del packet.chksum
    return packet


def error(quoted, dst, src, type=3, code=1, chksum=None, **fields):
    fields = dict(type=type, code=code, **fields)
    return IP(src=src, dst=dst, id=next_id()) / ICMP(**fields, chksum=chksum) / quoted


def quoted(packet):
    """What an ICMP error quotes."""
    ip = packet[IP]
    return bytes(ip)[ip.ihl * 4 + 8:ip.len]


def about(packet, sent):
    """Raise unless the error quotes a packet just as it was sent."""
    lab.check_sums(packet)
    mine = quoted(packet)
    assert LEAST <= len(mine) <= len(sent), f'{len(mine)} bytes are quoted of a packet of {len(sent)}'
    assert ones_sum(mine[:(mine[0] & 15) * 4]) == 0xffff, packet.show(dump=True)
    assert mine == bytes(hops_on(sent, IP(mine).ttl))[:len(mine)], (IP(mine).show(dump=True), sent.show(dump=True))


@contextlib.contextmanager
def nothing_inside_shows(net):
    """In what the gateway says outside, while it lasts."""
    _, mac = net.gateway.nics[1]
    hidden = [socket.inet_aton(address) for address in (lab.SERVER, lab.INSIDE, INNER_ROUTER, '10.9.0.1', '10.0.0.99')]
    with net.outside.capture() as frames:
        yield
    for frame in frames:
        assert frame.packet.src != mac or not any(address in frame.raw for address in hidden), frame.packet.show(dump=True)


# Others' errors

@pytest.mark.parametrize('length', [LEAST, 44, MOST])
def test_from_outside(net, talk, length):
    """A router on the way says that it could not pass on an answer."""
    for kind in ERRORS:
        sent, came = talk.answer(DATA, ip={'flags': 'DF'})
        told = error(quote(came, length), dst=talk.door.asked, src=OUTER_ROUTER, **kind)
        net.client.send(told)
        got = net.server.expect(IP, id=told.id)
        assert (got[IP].src, got[IP].dst, got[IP].ttl) == (OUTER_ROUTER, lab.SERVER, told.ttl - 1)
        assert got[ICMP].command().split('chksum')[0] == ICMP(bytes(told[ICMP])).command().split('chksum')[0]
        assert bytes(got[ICMP])[4:8] == bytes(told[ICMP])[4:8]
        assert len(quoted(got)) == length
        about(got, sent)


@pytest.mark.parametrize('length', [LEAST, 44, MOST])
def test_from_inside(net, talk, length):
    """The server, or a router before it, says that it could not take a packet."""
    with nothing_inside_shows(net):
        for source, kind in itertools.product((lab.SERVER, INNER_ROUTER, '10.200.0.1'), ERRORS):
            sent, came = talk.ask(DATA, ip={'flags': 'DF'})
            told = error(quote(came, length), dst=lab.CLIENT, src=source, **kind)
            net.server.send(told)
            got = net.client.expect(IP, id=told.id)
            assert (got[IP].src, got[IP].dst, got[IP].ttl) == (talk.door.asked, lab.CLIENT, told.ttl - 1)
            assert bytes(got[ICMP])[:2] + bytes(got[ICMP])[4:8] == bytes(told[ICMP])[:2] + bytes(told[ICMP])[4:8]
            assert len(quoted(got)) == length
            about(got, sent)


def test_from_inside_about_the_first_packet(net, door):
    """Nobody listens there, or nobody is there."""
    sport = next(sports)
    sent = sends(net.client, door.query(sport, flags='S') if door.layer is TCP else door.query(sport, DATA))
    came = net.server.expect(IP, id=sent.id)
    net.server.send(error(quote(came[IP]), dst=lab.CLIENT, src=lab.SERVER, code=3))
    got = net.client.expect(ICMP, type=3, code=3, src=door.asked)
    about(got, sent)


@pytest.mark.parametrize('door', DOORS[2:4], ids=str)
def test_quotes_of_any_length(net, talk):
    """Wherever it ends, what is there of the packet is right. Half a checksum is
    the exception: nobody can tell the other half."""
    for length in range(LEAST, 50):
        for station, other, (sent, came), dst, src in (
                (net.client, net.server, talk.answer(DATA), talk.door.asked, OUTER_ROUTER),
                (net.server, net.client, talk.ask(DATA), lab.CLIENT, lab.SERVER)):
            told = error(quote(came, length), dst=dst, src=src)
            station.send(told)
            got = other.expect(IP, id=told.id)
            assert len(quoted(got)) == length
            if talk.door.layer is TCP and length == 37:
                lab.check_sums(got)
                assert quoted(got)[20:36] == bytes(sent)[20:36]
            else:
                about(got, sent)


def test_about_options_and_no_checksum(net):
    """A quoted header may be longer, and a UDP sum of zero stays zero."""
    talk = Conversation(net, DOORS[1], next(sports))
    options = [IPOption(b'\x01\x01\x01\x00')]
    sent, came = talk.answer(DATA, chksum=0, ip={'options': options})
    assert sent.ihl > 5
    net.client.send(error(quote(came), dst=lab.OUTSIDE, src=OUTER_ROUTER))
    got = net.server.expect(ICMP, src=OUTER_ROUTER)
    about(got, sent)
    assert IP(quoted(got))[UDP].chksum == 0


def test_with_a_wrong_checksum(net, talk):
    sent, came = talk.answer(DATA)
    net.client.send(error(quote(came), dst=talk.door.asked, src=OUTER_ROUTER, chksum=0x1234))
    net.client.ping(lab.OUTSIDE)
    net.server.expect_nothing(lab.INSIDE, ICMP, src=OUTER_ROUTER)
    sent, came = talk.ask(DATA)
    net.server.send(error(quote(came), dst=lab.CLIENT, src=lab.SERVER, chksum=0x1234))
    net.server.ping(lab.INSIDE)
    net.client.expect_nothing(lab.OUTSIDE, ICMP, type=3)
    talk.ask(DATA)
    talk.answer(DATA)


def mangled(packet):
    """Quotes from which nobody can tell what they are about."""
    whole = quote(packet)
    for length in 0, 1, 8, 19, 20, 21, 24, 27:
        yield whole[:length]
    yield bytes([0x4f]) + whole[1:40]                           # a header that is not all there
    yield bytes([0x44]) + whole[1:]
    yield bytes([0x40]) + whole[1:]
    yield whole[:6] + bytes([0x00, 0x40]) + whole[8:]           # not the first fragment
    yield whole[:9] + bytes([99]) + whole[10:]                  # another protocol


def test_about_what_cannot_be_told(net, talk):
    """Such an error is left as it is, and does no harm."""
    _, came = talk.answer(DATA)
    for piece in mangled(came):
        net.client.send(error(piece, dst=talk.door.asked, src=OUTER_ROUTER))
    net.client.ping(lab.OUTSIDE)
    net.server.expect_nothing(lab.INSIDE, ICMP, src=OUTER_ROUTER)
    _, came = talk.ask(DATA)
    for piece in mangled(came):
        told = error(piece, dst=lab.CLIENT, src=lab.SERVER)
        net.server.send(told)
        net.server.ping(lab.INSIDE)
        net.client.ping(lab.OUTSIDE)
        for got in net.client.inbox.only(IP, id=told.id):
            assert quoted(got) == piece
    talk.ask(DATA)
    talk.answer(DATA)


def test_about_what_nobody_has_sent(net, talk):
    """A wrong port or address in the quote: that is no connection of ours."""
    sent, came = talk.answer(DATA)
    for change in dict(sport=talk.door.port + 1000), dict(dport=talk.sport + 1), dict(dst='163.158.1.77'), \
            dict(src='194.160.1.8'):
        net.client.send(error(quote(changed(came, 0, **change)), dst=talk.door.asked, src=OUTER_ROUTER))
    net.client.ping(lab.OUTSIDE)
    net.server.expect_nothing(lab.INSIDE, ICMP, src=OUTER_ROUTER)
    talk.ask(DATA)


@pytest.mark.parametrize('layer', [TCP, UDP])
def test_about_masqueraded_connections(net, layer):
    """Those are masquerading's own, and it goes on translating them."""
    sport = next(sports)
    sent = sends(net.server, IP(src=lab.SERVER, dst=lab.CLIENT) / layer(sport=sport, dport=7) / DATA)
    came = net.client.expect(layer, dport=7)
    assert 61000 <= came[layer].sport < 65096
    for kind in ERRORS[:5]:
        net.client.send(error(quote(came[IP]), dst=lab.OUTSIDE, src=OUTER_ROUTER, **kind))
        got = net.server.expect(ICMP, src=OUTER_ROUTER, type=kind['type'])
        lab.check_sums(got)
        mine = IP(quoted(got))
        assert ones_sum(quoted(got)[:20]) == 0xffff
        assert (mine.src, mine.dst, mine[layer].sport, mine[layer].dport) == (lab.SERVER, lab.CLIENT, sport, 7)
        assert bytes(mine[layer].payload) == bytes(sent[layer].payload)[:len(mine[layer].payload)]
    net.client.send(IP(dst=lab.OUTSIDE) / layer(sport=7, dport=came[layer].sport) / DATA)
    back = net.server.expect(layer, sport=7, dport=sport)
    net.server.send(error(quote(back[IP]), dst=lab.CLIENT, src=lab.SERVER, code=3))
    got = net.client.expect(ICMP, type=3, src=lab.OUTSIDE)
    mine = IP(quoted(got))
    assert (mine.dst, mine[layer].dport) == (lab.OUTSIDE, came[layer].sport)


def test_to_a_client_on_the_inside(net):
    """It asked the gateway's address, and so it sees that quoted."""
    door, sport = DOORS[1], next(sports)
    sent = sends(net.colleague, door.query(sport, DATA))
    came = net.server.expect(IP, id=sent.id, src=lab.INSIDE)
    net.server.send(error(quote(came[IP]), dst=lab.INSIDE, src=lab.SERVER, code=3))
    got = net.colleague.expect(ICMP, type=3, code=3, src=door.asked)
    about(got, sent)


# The gateway's own errors

def sends_much(net, talk, **ip):
    """The client says more than an error can quote."""
    net.client.inbox.clear()
    return sends(net.client, talk.query(DATA, ip=ip))


def answers_much(net, talk, **ip):
    net.server.inbox.clear()
    return sends(net.server, talk.reply(DATA, ip=ip))


def tells_the_client(net, talk, sent, **kind):
    """The gateway has an error for the client."""
    got = net.client.expect(ICMP, **kind)
    assert got[IP].src == talk.door.asked
    about(got, sent)
    return got


def tells_the_server(net, talk, sent, **kind):
    """The gateway has an error for the server."""
    got = net.server.expect(ICMP, **kind)
    assert got[IP].src == lab.INSIDE and got[IP].dst == lab.SERVER
    about(got, sent)
    return got


def narrow(net, interface):
    return for_a_while(net, f'ifconfig {interface} mtu 576', f'ifconfig {interface} mtu 1500')


def rejecting(net, *what):
    return for_a_while(net, *(f'ipfwadm -O -{action} reject {" ".join(what)}' for action in 'ad'))


def test_its_own_when_time_is_exceeded(net, talk):
    with nothing_inside_shows(net):
        tells_the_client(net, talk, sends_much(net, talk, ttl=1), type=11, code=0)
        tells_the_server(net, talk, answers_much(net, talk, ttl=1), type=11, code=0)
        talk.ask(DATA)


def test_its_own_about_the_first_packet(net, door):
    with nothing_inside_shows(net):
        for sport in next(sports), next(sports):
            sent = sends(net.client, door.query(sport, ip={'ttl': 1}, **({'flags': 'S'} if door.layer is TCP else {})))
            got = net.client.expect(ICMP, type=11, src=door.asked)
            about(got, sent)
            assert len(quoted(got)) == len(sent)


def test_its_own_when_a_fragment_is_needed_inside(net, talk):
    with nothing_inside_shows(net), narrow(net, 'eth0'):
        got = tells_the_client(net, talk, sends_much(net, talk, flags='DF'), type=3, code=4)
        assert got[ICMP].nexthopmtu == 576
        talk.ask(DATA[:500], ip={'flags': 'DF'})


def test_its_own_when_a_fragment_is_needed_outside(net, talk):
    with nothing_inside_shows(net), narrow(net, 'eth1'):
        got = tells_the_server(net, talk, answers_much(net, talk, flags='DF'), type=3, code=4)
        assert got[ICMP].nexthopmtu == 576
        talk.answer(DATA[:500], ip={'flags': 'DF'})


def test_its_own_when_the_firewall_rejects_on_the_way_in(net, talk):
    protocol = talk.door.layer.__name__.lower()
    with nothing_inside_shows(net), rejecting(net, '-P', protocol, '-D', lab.SERVER, str(talk.door.inner)):
        tells_the_client(net, talk, sends_much(net, talk), type=3, code=1)
        tells_the_client(net, talk, sends(net.client, talk.query(b'little')), type=3, code=1)
        net.server.expect_nothing(lab.INSIDE, talk.door.layer, dport=talk.door.inner)
    talk.ask(DATA)


def test_its_own_when_the_firewall_rejects_on_the_way_out(net, talk):
    protocol = talk.door.layer.__name__.lower()
    with nothing_inside_shows(net), rejecting(net, '-P', protocol, '-D', lab.CLIENT, str(talk.sport)):
        tells_the_server(net, talk, answers_much(net, talk), type=3, code=1)
        tells_the_server(net, talk, sends(net.server, talk.reply(b'little')), type=3, code=1)
        net.client.expect_nothing(lab.OUTSIDE, talk.door.layer, dport=talk.sport)
    talk.answer(DATA)


@pytest.mark.parametrize('door', UNROUTED, ids=str)
def test_its_own_when_there_is_no_route(net, door):
    with nothing_inside_shows(net):
        sent = sends(net.client, door.query(next(sports), **({'flags': 'S'} if door.layer is TCP else {})))
        got = net.client.expect(ICMP, type=3, src=door.asked)
        about(got, sent)


def test_no_redirect(net):
    """The way leads back over the wire the packet came from, to a router there:
    of that the client need not know."""
    net.colleague.inbox.clear()
    net.colleague.send(BEHIND.query(next(sports), DATA))
    came = net.router.expect(UDP, dport=BEHIND.inner)
    assert came[IP].src == lab.INSIDE and came[IP].dst == BEHIND.host
    net.colleague.expect_nothing(lab.INSIDE, ICMP, type=5)
    assert not net.router.inbox.only(ICMP, type=5)
    names, counts = (line.split() for line in net.gateway.sh('grep ^Icmp: /proc/net/snmp').out.splitlines())
    assert dict(zip(names, counts))['OutRedirects'] == '0'


@pytest.mark.parametrize('door', DEAD, ids=str)
def test_its_own_when_nobody_answers_arp(net, door):
    late = lab.loop.deadline(60)
    asked = {}
    with nothing_inside_shows(net):
        while True:
            sport = next(sports)
            asked[sport] = sends(net.client, door.query(sport, **({'flags': 'S'} if door.layer is TCP else {})))
            with contextlib.suppress(lab.Late):
                got = net.client.expect(ICMP, type=3, code=1, timeout=1, src=door.asked)
                break
            assert not late()
    about(got, asked[IP(quoted(got)).sport])
