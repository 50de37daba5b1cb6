# SPDX-License-Identifier: GPL-2.0-only
"""Without a rule nothing changes: the same packets, sent through an unpatched
kernel, a patched one without the option, and one with it but without a rule,
come out the same."""

import filecmp

import pytest

import lab
from lab import ICMP, IP, TCP, UDP
from lab.network import MASQUERADING

RC = MASQUERADING + '''\
/sbin/ipfwadm -F -a accept -b -S 192.0.2.0/24 -D 163.158.1.0/24
'''
FIRST_ID = 0x4000       # of the packets we send; the gateway's own are below
OUTER, INNER = lab.CLIENT, lab.SERVER


def script():
    """Packets for the gateway: (from where, packet)."""
    def out(packet, **ip):
        return 'inside', IP(src=INNER, dst=OUTER, **ip) / packet

    def back(packet, **ip):
        return 'outside', IP(**{'src': OUTER, 'dst': lab.OUTSIDE, **ip}) / packet

    data = bytes(range(256)) * 4
    # TCP and UDP from inside are masqueraded as ports 61000, 61001, …
    yield out(TCP(sport=1024, dport=80, flags='S', seq=1, options=[('MSS', 1460)]))
    yield back(TCP(sport=80, dport=61000, flags='SA', seq=9, ack=2))
    yield out(TCP(sport=1024, dport=80, flags='PA', seq=2, ack=10) / data)
    yield back(TCP(sport=80, dport=61000, flags='PA', seq=10, ack=2 + len(data)) / data)
    yield out(UDP(sport=1025, dport=53) / data)
    yield back(UDP(sport=53, dport=61001) / data)
    yield out(UDP(sport=1026, dport=53, chksum=0) / b'unsummed')
    yield back(UDP(sport=53, dport=61002, chksum=0) / b'unsummed')
    # about them: errors, wrong checksums, and what belongs to none
    yield back(ICMP(type=3, code=4, nexthopmtu=576) / IP(src=lab.OUTSIDE, dst=OUTER) / TCP(sport=61000, dport=80))
    yield back(ICMP(type=11) / IP(src=lab.OUTSIDE, dst=OUTER) / UDP(sport=61001, dport=53))
    yield back(TCP(sport=80, dport=61000, flags='PA', seq=99, chksum=0x1234) / data)
    yield back(UDP(sport=53, dport=61001, chksum=0x1234) / data)
    yield back(TCP(sport=80, dport=61999, flags='PA', seq=99, ack=1))
    yield back(TCP(sport=80, dport=61000, flags='FA', seq=10 + len(data), ack=2 + len(data)))
    yield out(TCP(sport=1024, dport=80, flags='R', seq=2 + len(data)))
    # ICMP itself
    yield out(ICMP(type=8, id=7, seq=1) / data)
    yield back(ICMP(type=0, id=61000, seq=1) / data)
    # for the gateway: ports where nobody listens, broken and odd ones
    for port in 80, 525, 8080, 65535:
        yield back(TCP(sport=7890, dport=port, flags='S', seq=5))
        yield back(TCP(sport=7890, dport=port, flags='A', seq=5, ack=6))
        yield back(UDP(sport=7890, dport=port) / b'anybody?')
    yield back(TCP(sport=7890, dport=80, flags='S', dataofs=4))
    yield back(UDP(sport=7890, dport=525, len=7, chksum=0))
    yield back(b'\x1e\xd2\x00\x50', proto=6)
    yield back(b'\x1e\xd2\x00', proto=17)
    yield back(b'whatever', proto=99)
    # forwarded without masquerading, and refused
    yield 'inside', IP(src='192.0.2.9', dst=OUTER) / UDP(sport=5, dport=6) / data
    yield 'outside', IP(src=OUTER, dst='192.0.2.9') / TCP(sport=6, dport=5, flags='S')
    yield 'outside', IP(src=OUTER, dst='10.0.0.2') / TCP(sport=6, dport=80, flags='S')
    yield 'inside', IP(src='192.0.2.9', dst=OUTER, ttl=1) / UDP(sport=5, dport=6)
    # in fragments
    for fragment in (IP(src=INNER, dst=OUTER, id=1077) / UDP(sport=1027, dport=9) / (data * 4)).fragment(1000):
        yield 'inside', fragment
    for fragment in (IP(src=OUTER, dst=lab.OUTSIDE, id=1078) / UDP(sport=9, dport=61003) / (data * 4)).fragment(1000):
        yield 'outside', fragment


def frames_of(flavour):
    """All that comes out, packet by packet of the script, on both sides."""
    with lab.example(lab.kernel(flavour=flavour), server='station', rc=RC) as net:
        net.boot()
        net.gateway.sh('/sbin/route add -net 192.0.2.0 netmask 255.255.255.0 gw 10.0.0.2')
        came = []
        stations = {'inside': net.server, 'outside': net.client}
        near = {'inside': lab.INSIDE, 'outside': lab.OUTSIDE}
        for number, (side, packet) in enumerate(script()):
            packet.id = FIRST_ID + (packet.id if packet.frag or packet.flags.MF else number)
            station = stations[side]
            station.send(packet, to=near[side])
            station.ping(near[side])        # the gateway has it; what it sent elsewhere comes before the next echo
            for name, other in stations.items():
                other.ping(near[name])
                came.append((number, name, sorted(lasting(f) for f in other.inbox.packets)))
                other.inbox.clear()
        return came


def lasting(packet):
    """A packet's bytes, but for the identification of one that the gateway
    itself made: it counts them, and a ping may be repeated."""
    ip = packet[IP].copy()
    if ip.id < FIRST_ID:
        ip.id = ip.chksum = 0
    return bytes(ip)


@pytest.fixture(scope='module')
def unpatched():
    return frames_of('stock')


def test_the_script_shows_something(unpatched):
    came = [frame for _, _, frames in unpatched for frame in frames]
    kinds = {type(lab.IP(frame).payload).__name__ for frame in came}
    assert kinds >= {'TCP', 'UDP', 'ICMP'} and len(came) > 20, (kinds, len(came))


@pytest.mark.parametrize('flavour', ['off', 'on'])
def test_the_same_frames_come_out(unpatched, flavour):
    assert frames_of(flavour) == unpatched


def test_without_the_option_the_kernel_is_the_same():
    assert filecmp.cmp(lab.kernel(flavour='off') / 'vmlinux', lab.kernel(flavour='stock') / 'vmlinux', shallow=False)
