# SPDX-License-Identifier: GPL-2.0-only
"""Datagrams in fragments, in both directions: the gateway puts them together,
and what comes out is the whole, in such pieces as the next link needs."""

import random

import pytest

import lab
from doors import ALIAS, ALIAS_RC, VERSIONS, Conversation, Door, next_id
from lab import IP, TCP, UDP
from lab.network import MASQUERADING

DOORS = [Door(UDP, lab.OUTSIDE, 525, 525), Door(UDP, '0.0.0.0', 91, 9100, asked=ALIAS),
         Door(TCP, lab.OUTSIDE, 8080, 3128)]
SMALL, LARGE, LARGEST = 3000, 20_000, 65_507
MOST = 1480                 # bytes of a datagram in one fragment


@pytest.fixture(scope='module', params=VERSIONS)
def net(request):
    rc = MASQUERADING + ALIAS_RC + ''.join(f'{door.rule}\n' for door in DOORS)
    with lab.example(lab.kernel(request.param), server='station', rc=rc, memory=32) as net:
        net.near = {net.client: lab.OUTSIDE, net.server: lab.INSIDE}
        yield net.boot()


@pytest.fixture(scope='module', params=DOORS, ids=str)
def talk(request, net):
    return Conversation(net, request.param, 3000)


def data(size):
    return random.Random(size).randbytes(size)


def piece(packet, start, end):
    """The fragment that carries these bytes of a packet's payload."""
    payload = bytes(packet.payload)
    end = min(end, len(payload))
    assert start % 8 == 0 and (end % 8 == 0 or end == len(payload))
    header = IP(bytes(packet)[:20])
    header.len, header.frag, header.flags = 20 + end - start, start // 8, 'MF' if end < len(payload) else 0
    del header.chksum
    return IP(bytes(header) + payload[start:end])


def cut(packet, size, overlap=0):
    """All fragments of a packet, so much of each also in the one before."""
    return [piece(packet, start, start + size + overlap) for start in range(0, len(packet.payload), size)]


def sends(net, station, fragments):
    """Send frames, each when the gateway has taken the one before: QEMU's card
    gives a buffer back before it has written the frame's length there, and a
    driver that looks for more just then loses the frame."""
    for fragment in fragments:
        station.send(fragment)
        station.ping(net.near[station])


def takes(station, expected):
    """Wait for all fragments of a packet, and put them together."""
    whole, more = b'', True
    while more:
        got = station.expect(IP, id=expected.id, frag=len(whole) // 8)
        lab.check_sums(got)
        ip = got[IP]
        assert (ip.src, ip.dst, ip.ttl, ip.proto) == (expected.src, expected.dst, expected.ttl, expected.proto)
        assert not ip.flags.DF
        whole += bytes(ip)[20:ip.len]
        more = ip.flags.MF
    assert not station.inbox.only(IP, id=expected.id)
    assert whole == bytes(expected.payload)


def told(station, packet):
    """A packet as the station sends it, whole."""
    packet = packet.copy()
    packet.src, packet.id = packet.fields.get('src', station.ip), next_id()
    return IP(bytes(packet))


def in_order(fragments):
    return fragments


def first_last(fragments):
    return fragments[1:] + fragments[:1]


def last_first(fragments):
    return fragments[-1:] + fragments[:-1]


def backwards(fragments):
    return fragments[::-1]


def shuffled(fragments):
    return random.Random(4).sample(fragments, len(fragments))


def twice(fragments):
    """But the last: with it the datagram is whole, and a new one would begin."""
    return [f for fragment in fragments[:-1] for f in (fragment, fragment)] + fragments[-1:]


ORDERS = [in_order, first_last, last_first, backwards, shuffled, twice]


def cross(net, talk, fragments_of, size=SMALL, **fields):
    """A query and its answer, each of the size, in the fragments that the
    function makes of them."""
    for station, other, packet, expected in (
            (net.client, net.server, talk.query(data(size), **fields), talk.door.inward),
            (net.server, net.client, talk.reply(data(size), **fields), talk.door.outward)):
        packet = told(station, packet)
        sends(net, station, fragments_of(packet))
        takes(other, expected(packet))


@pytest.mark.parametrize('order', ORDERS, ids=lambda f: f.__name__)
def test_whatever_their_order(net, talk, order):
    cross(net, talk, lambda packet: order(cut(packet, 400)))


@pytest.mark.parametrize('order', [in_order, first_last, backwards], ids=lambda f: f.__name__)
@pytest.mark.parametrize('overlap', [8, 392])
def test_they_may_overlap(net, talk, order, overlap):
    cross(net, talk, lambda packet: order(cut(packet, 400, overlap)))


def test_a_first_fragment_that_ends_in_the_header(net, talk):
    """Of UDP it has the header and no more, of TCP not even that."""
    cross(net, talk, lambda packet: [piece(packet, 0, 8), *cut(packet, 800)[1:], piece(packet, 8, 800)])


@pytest.mark.parametrize('size', [LARGE, LARGEST])
@pytest.mark.parametrize('order', [in_order, first_last, shuffled], ids=lambda f: f.__name__)
def test_large_datagrams(net, talk, size, order):
    size -= 12 if talk.door.layer is TCP else 0
    cross(net, talk, lambda packet: order(cut(packet, MOST)), size)


def test_many_small_fragments(net, talk):
    cross(net, talk, lambda packet: first_last(cut(packet, 104)), 8000)


def test_without_a_udp_checksum(net):
    cross(net, Conversation(net, DOORS[0], 3001), lambda packet: cut(packet, 800), chksum=0)


def test_two_datagrams_at_a_time(net, talk):
    one, two = (told(net.client, talk.query(data(SMALL + number))) for number in range(2))
    sends(net, net.client, [f for pair in zip(cut(one, 800), cut(two, 800)) for f in pair])
    for packet in one, two:
        takes(net.server, talk.door.inward(packet))


@pytest.mark.parametrize('door', DOORS, ids=str)
def test_a_connection_begins_with_fragments(net, door):
    fields = {'flags': 'S'} if door.layer is TCP else {}
    packet = told(net.client, door.query(3100, data(SMALL), **fields))
    sends(net, net.client, first_last(cut(packet, 400)))
    takes(net.server, door.inward(packet))


@pytest.mark.parametrize('door', DOORS, ids=str)
def test_what_does_not_become_whole_begins_nothing(net, door):
    """One is missing, they contradict each other, or the sum is wrong."""
    fields = {'flags': 'S'} if door.layer is TCP else {}
    first = 3200 + 10 * DOORS.index(door)
    packets = [told(net.client, door.query(first + n, data(SMALL), **fields)) for n in range(3)]
    missing, doubtful, wrong = packets
    sends(net, net.client, [f for f in cut(missing, 400) if f.frag != 100])
    other = IP(bytes(doubtful)[:-SMALL] + bytes(SMALL))
    sends(net, net.client, [pair[n % 2] for n, pair in enumerate(zip(cut(doubtful, 400, 8), cut(other, 400, 8)))])
    wrong = wrong.copy()
    wrong[door.layer].chksum ^= 0x0101
    del wrong.chksum
    sends(net, net.client, cut(IP(bytes(wrong)), 400))
    net.client.ping(lab.OUTSIDE)
    net.server.expect_nothing(lab.INSIDE, IP, dst=lab.SERVER)
    shown = net.gateway.sh('netstat -M -n').out
    assert not any(f' {first + n} (' in shown for n in range(3)), shown
    # The one that was missing comes, and all is well.
    sends(net, net.client, [f for f in cut(missing, 400) if f.frag == 100])
    takes(net.server, door.inward(missing))
    assert f' {first} (' in net.gateway.sh('netstat -M -n').out
