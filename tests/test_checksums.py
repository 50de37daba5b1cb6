# SPDX-License-Identifier: GPL-2.0-only
"""Checksums are adjusted, not made anew (RFC 1624): right at the edges of
one's complement arithmetic, and what was wrong stays wrong."""

import itertools

import pytest

import lab
from dialogue import Dialogue
from lab import IP, TCP, UDP
from lab.frames import ones_sum, transport_sum

EDGES = [0, 1, 2, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffd, 0xfffe, 0xffff]
WAYS = ['inward', 'outward']


@pytest.fixture(scope='module')
def net():
    with lab.example(server='station') as net:
        yield net.boot()


@pytest.fixture(scope='module', params=[TCP, UDP], ids=['tcp', 'udp'])
def talk(request, net):
    port = 80 if request.param is TCP else 525
    talk = Dialogue(net.client, net.server, 4000, port, port, layer=request.param)
    if request.param is TCP:
        talk.open()
    talk.talk()         # it is open, and nobody looks at it twice
    return talk


def packets(talk, way):
    """An empty word in a packet, as it is sent and as it should come."""
    for src, dst in ((talk.near, talk.asked), (talk.near, talk.inside)) if way == 'inward' else (
            (talk.inside, talk.seen), (talk.asked, talk.seen)):
        fields = {'flags': 'PA', 'seq': 77, 'ack': 77} if talk.layer is TCP else {}
        yield IP(bytes(IP(src=src[0], dst=dst[0]) / talk.layer(sport=src[1], dport=dst[1], **fields) / bytes(2)))


def word(empty, wanted):
    """What the empty word must be for the packet to have this checksum."""
    return ((empty.payload.chksum - wanted) % 0xffff).to_bytes(2, 'big')


def carried(talk, way, packet):
    """Send it; returns what has come at the other side, trimmed."""
    here, there = (talk.client, talk.server) if way == 'inward' else (talk.server, talk.client)
    here.send(packet)
    got = there.expect(talk.layer, src=(talk.near if way == 'inward' else talk.asked)[0],
                       where=lambda p: bytes(p[talk.layer].payload)[:2] == bytes(packet[talk.layer].payload))
    assert ones_sum(bytes(got[IP])[:20]) == 0xffff
    return IP(bytes(got[IP])[:got[IP].len])


@pytest.mark.parametrize('at', ['sent', 'come'])
@pytest.mark.parametrize('way', WAYS)
def test_a_right_one_stays_right(talk, way, at):
    for edge in EDGES:
        if talk.layer is UDP and edge == 0:
            continue                    # it would say that there is none
        sent, come = packets(talk, way)
        packet = sent.copy()
        packet.payload.payload.load = word(sent if at == 'sent' else come, edge)
        if at == 'sent':
            packet.payload.chksum = edge        # of 0 and 0xffff, which are equal, this one
        else:
            del packet.payload.chksum
            packet = IP(bytes(packet))
        assert transport_sum(bytes(packet)) == 0xffff
        got = carried(talk, way, packet)
        assert transport_sum(bytes(got)) == 0xffff, (edge, got.show(dump=True))
        if talk.layer is UDP:
            assert got[UDP].chksum != 0
        if at == 'come':
            assert got.payload.chksum in ({0, 0xffff} if edge in (0, 0xffff) else {edge})


@pytest.mark.parametrize('way', WAYS)
def test_a_wrong_one_stays_wrong_by_as_much(talk, way):
    for edge, error in itertools.product(EDGES, (1, 0x8000, 0xfffe)):
        sent, _ = packets(talk, way)
        sent.payload.payload.load = word(sent, edge)
        sent.payload.chksum = (edge + error) % 0xffff
        if talk.layer is UDP and sent.payload.chksum == 0:
            continue
        assert transport_sum(bytes(sent)) != 0xffff
        assert transport_sum(bytes(carried(talk, way, sent))) == transport_sum(bytes(sent))


@pytest.mark.parametrize('way', WAYS)
def test_none_stays_none(net, way):
    talk = Dialogue(net.client, net.server, 4001, 525, 525, layer=UDP)
    talk.talk()
    sent, _ = packets(talk, way)
    sent.payload.chksum = 0
    assert carried(talk, way, sent)[UDP].chksum == 0
