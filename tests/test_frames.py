# SPDX-License-Identifier: GPL-2.0-only
"""What forwarding does to a frame, and what it leaves alone: each packet that
comes out is compared, byte for byte, with the one that ought to."""

import pytest
from scapy.layers.inet import IPOption
from scapy.packet import Raw

import lab
from lab import IP, TCP, UDP

DATA = bytes(range(256)) * 5 + b'odd'


@pytest.fixture(scope='module')
def net():
    with lab.example(server='station') as net:
        yield net.boot()


def inward(packet, port):
    """The packet as it should come out inside."""
    return changed(packet, dst='10.0.0.2', dport=port)


def outward(packet, port):
    """The packet as it should come out outside."""
    return changed(packet, src='194.160.1.1', sport=port)


def changed(packet, **fields):
    new = IP(bytes(packet))
    new.ttl -= 1
    layer = new[TCP] if TCP in new else new[UDP]
    for name, value in fields.items():
        setattr(layer if name.endswith('port') else new, name, value)
    unsummed = UDP in new and layer.chksum == 0
    del new.chksum, layer.chksum
    if unsummed:
        layer.chksum = 0
    return bytes(new)


def crosses(station, packet, other, expected):
    """Send a packet from a station; it comes out at the other as expected."""
    packet.src = station.ip
    station.send(packet)
    layer = TCP if TCP in packet else UDP
    got = other.expect(layer, where=lambda p: p[IP].id == packet.id)
    lab.check_sums(got)
    assert bytes(got[IP])[:got[IP].len] == expected, got.show(dump=True)


def test_tcp_both_ways(net):
    for flags, data, seq in (('S', b'', 0), ('A', b'', 1), ('PA', DATA, 1), ('FA', b'', 1)):
        query = IP(dst='194.160.1.1', id=1000 + seq, ttl=64, tos=0x10, flags='DF') / TCP(
            sport=7890, dport=80, flags=flags, seq=seq, ack=77, window=4321,
            options=[('MSS', 1460)] if 'S' in flags else [('NOP', None)] * 4) / data
        query.src = net.client.ip
        crosses(net.client, query, net.server, inward(query, 80))
        reply = IP(dst='163.158.1.2', id=2000 + seq, ttl=40) / TCP(
            sport=80, dport=7890, flags='SA' if flags == 'S' else flags, seq=77, ack=seq) / data
        reply.src = net.server.ip
        crosses(net.server, reply, net.client, outward(reply, 80))


@pytest.mark.parametrize('summed', [True, False], ids=['with checksum', 'without checksum'])
def test_udp_both_ways(net, summed):
    sport = 4000 + summed
    for number, data in enumerate((b'', b'x', DATA)):
        query = IP(dst='194.160.1.1', id=3000 + number) / UDP(
            sport=sport, dport=525, **({} if summed else {'chksum': 0})) / data
        query.src = net.client.ip
        crosses(net.client, query, net.server, inward(query, 525))
        reply = IP(dst='163.158.1.2', id=4000 + number) / UDP(
            sport=525, dport=sport, **({} if summed else {'chksum': 0})) / data
        reply.src = net.server.ip
        crosses(net.server, reply, net.client, outward(reply, 525))


def test_another_port_inside(net):
    net.gateway.sh('ipportfw -A -t 194.160.1.1/8080 -R 10.0.0.2/3128')
    query = IP(dst='194.160.1.1', id=5000) / TCP(sport=7890, dport=8080, flags='S')
    query.src = net.client.ip
    crosses(net.client, query, net.server, inward(query, 3128))
    reply = IP(dst='163.158.1.2', id=5001) / TCP(sport=3128, dport=7890, flags='SA', ack=1)
    reply.src = net.server.ip
    crosses(net.server, reply, net.client, outward(reply, 8080))


def test_ip_options_stay(net):
    query = IP(dst='194.160.1.1', id=5100, options=[IPOption(b'\x01\x01\x01\x00')]) / TCP(
        sport=7893, dport=80, flags='S') / b'early'
    query.src = net.client.ip
    crosses(net.client, query, net.server, inward(query, 80))


def test_checksums_of_all_ones_and_zero(net):
    """The values of which ones' complement has two: every UDP checksum."""
    for word in range(0, 65536, 257):
        query = IP(dst='194.160.1.1', id=word & 0xfff | 0x4000) / UDP(sport=4100, dport=525) / word.to_bytes(2, 'big')
        query.src = net.client.ip
        # Make the sum that comes out inside 0xffff or near it.
        for near in (0, 1):
            wanted = IP(inward(query, 525))[UDP].chksum
            data = int.from_bytes(bytes(query[UDP].payload), 'big')
            query[UDP].payload = Raw(((data + wanted + near - 1) % 0xffff).to_bytes(2, 'big'))
            del query[UDP].chksum
            query.id += 0x1000 * near
            crosses(net.client, query, net.server, inward(query, 525))


@pytest.mark.parametrize('packet', [
    TCP(sport=9000, dport=80, flags='R'), TCP(sport=9001, dport=80, flags='RA'),
    TCP(sport=9002, dport=80, flags='SA'), TCP(sport=9003, dport=80, flags=''),
    TCP(sport=9004, dport=80, flags='F'), TCP(sport=9005, dport=80, flags='SR'),
    TCP(sport=9006, dport=80, flags='S', chksum=0x1234), TCP(sport=9007, dport=80, flags='S', dataofs=4),
    TCP(sport=9008, dport=80, flags='S', dataofs=15), UDP(sport=9009, dport=525, chksum=0x1234),
    UDP(sport=9010, dport=525, len=7, chksum=0), UDP(sport=9011, dport=525, len=9, chksum=0),
    UDP(sport=9012, dport=526), TCP(sport=9013, dport=81, flags='S'),
], ids=lambda p: p.command())
def test_what_begins_no_connection(net, packet):
    net.server.inbox.clear()
    net.client.send(IP(dst='194.160.1.1') / packet)
    net.client.ping('194.160.1.1')
    net.server.expect_nothing('10.0.0.1', type(packet))
    assert f':{packet.sport}' not in net.gateway.sh('netstat -M -n').out


def test_the_middle_of_a_connection_begins_one(net):
    """So that sessions go on when the gateway has been started anew."""
    query = IP(dst='194.160.1.1', id=6000) / TCP(sport=9100, dport=80, flags='PA', seq=5, ack=6) / b'more'
    query.src = net.client.ip
    crosses(net.client, query, net.server, inward(query, 80))
