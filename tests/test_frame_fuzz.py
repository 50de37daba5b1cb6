# SPDX-License-Identifier: GPL-2.0-only
"""Frames that lie, by the hundred thousand, from both sides, and honest people
beside them. FUZZ_SEED in the environment repeats a run."""

import os
import random
import re
import struct

import pytest

import lab
from crowd import ACK, FIN, PSH, RST, STALL, SYN, Crowd, Honest, aton, connections, echo, ip, ones, tcp, udp
from lab.network import MASQUERADING
from memory import books, comes_back

ENOUGH = 200_000
ROUND = 2_000
SEED = int(os.environ.get('FUZZ_SEED') or random.SystemRandom().getrandbits(32))
# Masquerading keeps the query of an inside host for two minutes, whatever it is
# told: too long to wait for.
RC = MASQUERADING + '''\
/sbin/ipfwadm -F -i deny -P icmp -S 10.0.0.0/8 8 13 15 17 -D 0.0.0.0/0
/sbin/ipfwadm -M -s 5 5 5
/usr/local/sbin/ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80
/usr/local/sbin/ipportfw -A -t0.0.0.0/8080 -R 10.0.0.2/80
/usr/local/sbin/ipportfw -A -t194.160.1.1/21 -R 10.0.0.3/21
/usr/local/sbin/ipportfw -A -u194.160.1.1/525 -R 10.0.0.2/525
/usr/local/sbin/ipportfw -A -u0.0.0.0/53 -R 10.0.0.3/5353
[ ! -e /proc/net/ip_portfw_limits ] || echo half_open_timeout 5 >/proc/net/ip_portfw_limits
'''
GATEWAY, INSIDE, SERVER, CLIENT = map(aton, (lab.OUTSIDE, lab.INSIDE, lab.SERVER, lab.CLIENT))
OTHER = aton('10.0.0.3')
PORTS = [80, 8080, 21, 525, 53] * 4 + [0, 1, 20, 23, 81, 5353, 60999, 61000, 61001, 61002, 65095, 65096, 65535]
ODD_ADDRESSES = [aton(a) for a in (
    '0.0.0.0', '127.0.0.1', '255.255.255.255', '194.160.1.255', '194.160.1.0', '10.0.0.255', '10.0.0.1',
    '10.0.0.2', '10.0.0.77', '194.160.1.1', '224.0.0.1', '240.0.0.1', '163.158.1.2', '163.158.1.255')]
# What the kernel says of such frames without any of our help.
STOCK_SAYS = re.compile(r'''<\d>.*(?:
    MASQ:\ failed | ip_masq_new\(proto | TCP:\ bad | UDP:\ (?:bad|short) | ICMP | icmp | IP: |
    rom\ unknown )''', re.X)


class Fuzzer:
    """Frames of one side. All of `r`'s choices follow from the seed."""

    def __init__(self, seed, inside):
        self.r, self.inside = random.Random(seed), inside
        self.honest = CLIENT, 40000             # a client that gets something from port 80
        self.kinds = [self.segment] * 5 + [self.datagram] * 4 + [self.error] * 4 + [self.message, self.other,
                                                                                 self.blind]

    # Fields

    def source(self):
        r = self.r.random()
        if r < 0.1:
            return self.r.choice(ODD_ADDRESSES)
        if self.inside:
            return SERVER if r < 0.6 else OTHER if r < 0.9 else self.r.randbytes(4)
        return CLIENT if r < 0.2 else self.neighbour() if r < 0.5 else self.r.randbytes(4)

    def destination(self):
        r = self.r.random()
        if r < 0.1:
            return self.r.choice(ODD_ADDRESSES)
        if self.inside:
            return CLIENT if r < 0.5 else GATEWAY if r < 0.6 else self.neighbour()
        return GATEWAY

    def neighbour(self):
        """One of those the outer station speaks for."""
        return b'\xa3\x9e\x01' + (self.r.randrange(128) + 128).to_bytes(1)

    def ports(self):
        """Source and destination. None of those an honest client gets."""
        ours, theirs = self.r.choice(PORTS), self.r.randrange(32768)
        return (ours, theirs) if self.inside else (theirs, ours)

    def data(self):
        return self.r.randbytes(self.r.choice((0, 0, 1, 2, 7, 8, 33, 200, 1400)))

    # Packets that are sound so far

    def segment(self):
        flags = self.r.choice((SYN, SYN, ACK, PSH | ACK, FIN | ACK, RST, RST | ACK, SYN | ACK, self.r.getrandbits(8)))
        sport, dport = self.ports()
        return tcp(self.source(), sport, self.destination(), dport, flags, self.r.getrandbits(32),
                   self.r.getrandbits(32), self.data())

    def datagram(self):
        sport, dport = self.ports()
        return udp(self.source(), sport, self.destination(), dport, self.data())

    def error(self):
        """An ICMP error about something that may never have been sent."""
        if self.r.random() < 0.3:
            client, port = self.honest
            ours = (SERVER, 80) if self.inside else (GATEWAY, 80)
            about = tcp(client, port, *ours, ACK, self.r.getrandbits(32)) if self.inside else \
                tcp(*ours, client, port, ACK, self.r.getrandbits(32))
        else:
            sport, dport = self.ports()
            make = self.r.choice((tcp, udp))
            about = make(*((self.destination(), dport, self.source(), sport)), *([ACK] if make is tcp else []))
        about = self.lie(about) if self.r.random() < 0.5 else about
        kind, code = self.r.choice((3, 3, 3, 4, 5, 11, 12, self.r.getrandbits(8))), self.r.randrange(16)
        message = struct.pack('!BBHI', kind, code, 0, self.r.choice((0, 68, 576, 1500, self.r.getrandbits(32))))
        message += about[:self.r.choice((0, 1, 19, 20, 24, 27, 28, 28, 28, 28, 40, 48, len(about)))]
        return ip(1, self.source(), self.destination(), self.summed(message))

    def message(self):
        message = struct.pack('!BBHHH', self.r.choice((0, 8, 13, 17, self.r.getrandbits(8))), 0, 0,
                              self.r.getrandbits(16), self.r.getrandbits(16)) + self.data()
        return ip(1, self.source(), self.destination(), self.summed(message))

    def other(self):
        return ip(self.r.getrandbits(8), self.source(), self.destination(), self.r.randbytes(self.r.randrange(60)))

    def blind(self):
        """What somebody might send who knows of the honest connection all but
        its numbers, and what its ends must not believe."""
        client, port = self.honest
        flags = self.r.choice((SYN, RST, RST | ACK, SYN | RST))
        if self.inside:
            return tcp(SERVER, 80, client, port, self.r.choice((RST, RST | ACK)), self.r.getrandbits(32))
        return tcp(client, port, GATEWAY, 80, flags, self.r.getrandbits(32))

    @staticmethod
    def summed(message):
        return message[:2] + ones(message).to_bytes(2, 'big') + message[4:]

    # Lies

    def options(self):
        """IP or TCP options, more or less."""
        r, made = self.r, b''
        while len(made) < 40 and r.random() < 0.7:
            kind = r.choice((0, 1, 2, 3, 7, 68, 131, 137, 148, 130, 136, r.getrandbits(8)))
            size = r.choice((0, 1, 2, 3, 4, 7, 11, 39, 40, 255))
            made += bytes([kind, size, r.choice((0, 3, 4, 5, 8, 255))]) + r.randbytes(r.randrange(12))
        return made[:40]

    def lie(self, packet):
        """The packet with one thing about it changed."""
        r, packet = self.r, bytearray(packet)
        if len(packet) < 24:
            return bytes(packet)
        lie = r.randrange(12)
        if lie == 0:
            del packet[r.randrange(len(packet)):]
        elif lie == 1:
            packet[0] = 0x40 | r.randrange(16)
        elif lie == 2:
            packet[2:4] = r.choice((r.randrange(64), len(packet) + r.randrange(-30, 9), r.getrandbits(16))
                                   ).to_bytes(4, 'big', signed=True)[2:]
        elif lie == 3:                      # a fragment, perhaps beyond the end
            packet[6:8] = r.choice((0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff, 0x4000, r.getrandbits(16))).to_bytes(2)
        elif lie == 4:
            packet[8] = r.choice((0, 1, 2))
        elif lie == 5:
            packet[9] = r.choice((1, 2, 4, 6, 17, r.getrandbits(8)))
        elif lie == 6:                      # IP options
            made = self.options()
            made += bytes(-len(made) % 4)
            packet[20:20] = made
            packet[0] += len(made) // 4
            packet[2:4] = len(packet).to_bytes(2, 'big')
        elif lie == 7 and len(packet) >= 40:                    # TCP's data offset, UDP's first data
            packet[32] = r.getrandbits(8)
        elif lie == 8 and len(packet) >= 40:                    # TCP options
            made = self.options()
            packet[40:40] = made
            packet[32] = min(5 + len(made) // 4, 15) << 4
            packet[2:4] = len(packet).to_bytes(2, 'big')
        elif lie == 9 and len(packet) >= 28:                    # UDP's length, TCP's sequence number
            packet[24:26] = r.choice((0, 7, 8, 9, 1000, 65535)).to_bytes(2, 'big')
        elif lie == 10:
            for _ in range(r.choice((1, 1, 2, 8))):
                packet[r.randrange(len(packet))] ^= 1 << r.randrange(8)
        else:
            packet += r.randbytes(r.randrange(1, 30))
        return bytes(packet)

    def sums(self, packet):
        """Most get a right IP checksum, so that they come further, and many a
        right one of the transport."""
        packet = bytearray(packet)
        size = (packet[0] & 15) * 4 if packet else 0
        if not 20 <= size <= len(packet):
            return bytes(packet)
        at = size + {1: 2, 6: 16, 17: 6}.get(packet[9], 99)
        choice = self.r.random()
        if at + 2 <= len(packet) and choice < 0.8:
            packet[at:at + 2] = bytes(2)
            end = min(len(packet), max(size, packet[2] << 8 | packet[3]))
            body = bytes(packet[size:end])
            if packet[9] != 1:
                body += bytes(packet[12:20]) + bytes([0, packet[9]]) + (end - size).to_bytes(2, 'big')
            if choice < 0.6 and len(packet[size:end]) % 2 == 0:
                packet[at:at + 2] = ones(body).to_bytes(2, 'big')
            elif choice < 0.7:
                packet[at:at + 2] = self.r.randbytes(2)
        if self.r.random() < 0.95:
            packet[10:12] = bytes(2)
            packet[10:12] = ones(bytes(packet[:size])).to_bytes(2, 'big')
        return bytes(packet)

    def fragments(self):
        """A large packet in pieces, in any order, some of them missing, some
        twice, some of a size or at a place that does not fit."""
        whole = self.r.choice((self.datagram, self.segment, self.error))() + self.r.randbytes(self.r.randrange(3000))
        body, ident, size = whole[20:], self.r.randrange(65536), self.r.choice((8, 24, 256, 1400))
        offsets = list(range(0, min(len(body), 20 * size), size))
        if self.r.random() < 0.5:
            self.r.shuffle(offsets)
        if self.r.random() < 0.5:
            offsets[self.r.randrange(len(offsets))] = self.r.choice((0, 8, 65528))
        for offset in offsets:
            more = 0x2000 if offset + size < len(body) else 0
            piece = body[offset:offset + size + self.r.choice((0, 0, 0, 0, 8, 3))][:1480]
            packet = bytearray(ip(whole[9], whole[12:16], whole[16:20], piece, ident))
            packet[6:8] = (more | offset // 8).to_bytes(2, 'big')
            packet[10:12] = bytes(2)
            packet[10:12] = ones(bytes(packet[:20])).to_bytes(2, 'big')
            yield bytes(packet)

    def frames(self, number, mac):
        """So many frames, for the card `mac` is the Ethernet head of."""
        made = 0
        while made < number:
            if self.r.random() < 0.03:
                packets = list(self.fragments())
            else:
                kind = self.r.choice(self.kinds)
                packet = kind()
                if kind != self.blind:
                    for _ in range(self.r.choice((0, 1, 1, 1, 2, 3))):
                        packet = self.lie(packet)
                    packet = self.sums(packet)
                packets = [packet]
            for packet in packets:
                made += 1
                head = b'\xff' * 6 + mac[6:] if self.r.random() < 0.02 else mac
                # No card delivers less than Ethernet's minimum, and drivers rely on it.
                yield (head + packet[:1500]).ljust(60, b'\xa5')


@pytest.fixture(scope='module')
def net(namespaces):
    # Little room on its disk: 2.0 keeps some memory for each block ever used.
    with lab.example(server='host', client='host', nic='tulip', rc=RC, via='163.158.1.9', free=512) as net:
        net.outer = Crowd(net, net.outside, '163.158.1.9/24', lab.OUTSIDE, also=['163.158.1.128/25'])
        net.inner = Crowd(net, net.inside, '10.0.0.3/24', lab.INSIDE)
        echo(net.server)
        yield net.boot()
        net.outer.close()
        net.inner.close()


def received(net):
    """Frames that have reached the gateway, and are none of the hosts' or of
    what the stations sent besides: at least so many of ours have."""
    def packets(table, field):
        return sum(int(line.split(':')[1].split()[field]) for line in table.splitlines() if 'eth' in line)
    others = sum(packets(host.run(['cat', '/proc/net/dev']).out, 9) for host in (net.client, net.server))
    return packets(net.gateway.sh('cat /proc/net/dev').out, 0) - others - net.outer.besides - net.inner.besides


def rest(gateway):
    """Wait until no connection is left, and all of masquerading's ports are free."""
    lab.loop.wait(lambda: connections(gateway) == (0, [4096] * 3), 120,
                  lambda: f'all to be forgotten: connections and free ports are {connections(gateway)}', poll=1)


def lie(net, sides, number):
    """Send that many frames from either side."""
    for crowd, fuzzer in sides:
        crowd.pour(fuzzer.frames(number, crowd.ethernet()))


def test_frames_that_lie(net):
    print(f'FUZZ_SEED={SEED} repeats this')
    sides = [(net.outer, Fuzzer(SEED, False)), (net.inner, Fuzzer(SEED + 1, True))]
    # 2.0 remembers neighbours and ways to them: after a while, all it ever will.
    head = net.outer.ethernet()
    net.outer.pour(head + udp(b'\xa3\x9e\x01' + bytes([n]), 9, GATEWAY, 9) for n in range(128, 256))
    net.outer.pour(head + udp(b'\xa3\x9f\x01' + bytes([n]), 9, GATEWAY, 9) for n in range(256))
    lie(net, sides, 10 * ROUND)
    rest(net.gateway)
    before = books(net.gateway)

    begun, said = received(net), len(net.gateway.console())
    talks = [Honest(net.client, 80), Honest(net.client, 80, again=True)]
    for _, fuzzer in sides:
        fuzzer.honest = CLIENT, talks[0].sock.getsockname()[1]
    while received(net) - begun < ENOUGH:
        turns = talks[0].turns
        lie(net, sides, ROUND)
        lab.loop.wait(lambda: talks[0].turns > turns, STALL, 'the honest connection to go on', poll=0.01)
    print([talk.stop() for talk in talks], 'exchanges and connections of the honest meanwhile')

    lines = net.gateway.console()[said:].splitlines()
    assert not [line for line in lines if not STOCK_SAYS.match(line)]
    assert len(lines) < ENOUGH / 10
    rest(net.gateway)
    comes_back(net.gateway, before, timeout=60)     # pieces of what never became whole are kept for half a minute
    net.outer.settle()
    net.inner.settle()
