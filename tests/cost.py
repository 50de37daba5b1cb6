# SPDX-License-Identifier: GPL-2.0-only
"""What packets cost the gateway, in instructions: its kernel counts them
(bench/measure.patch), its emulator advances the clock by one an instruction."""

import dataclasses
import itertools
import random

import crowd
import lab
from lab import loop
from lab.network import MASQUERADING

PATCH = lab.TOP / 'bench/measure.patch'
BURST = 8                               # frames that find room in any card
PACKETS = 1000
DELIVERED, FORWARDED, ANSWERED = range(3)       # ways that are counted
PORTS = {6: 80, 17: 525}                # that the example forwards
NAMES = {6: 'TCP', 17: 'UDP'}
ACK = crowd.ACK | crowd.PSH
SIZES = 18, 512, 1472                   # of payloads, the last as far as a frame has room:
LARGEST = {6: 1460, 17: 1472}
CLIENT, SERVER, OUTSIDE, INSIDE = map(crowd.aton, (lab.CLIENT, lab.SERVER, lab.OUTSIDE, lab.INSIDE))
# One rule of ipfwadm lets all pass, where MASQUERADING's one rewrites.
ROUTING = '''\
/sbin/ipfwadm -F -f
/sbin/ipfwadm -F -p deny
/sbin/ipfwadm -F -a accept -S 0.0.0.0/0 -D 0.0.0.0/0
'''


@dataclasses.dataclass(frozen=True)
class Cost:
    """Instructions of one packet, the least and the mean of many."""
    least: int
    mean: float


class Side(lab.Station):
    """Sends ready-made packets at the pace the gateway takes them."""

    def __init__(self, wire, mac, address, near, also=()):
        super().__init__(wire, mac, address, also=also)
        self.near, self.came, self.last = near, 0, b''
        self._wanted = self._echoes = 0

    def take(self, frame):
        if frame[12:14] == b'\x08\x06':
            self._take_arp(frame)
        elif frame[23] == 1:
            self._echoes += frame[34] == 0
            loop.news()
        else:
            self.came += 1
            self.last = frame
            if self.came >= self._wanted:
                loop.news()

    def head(self):
        """That of a frame to the gateway."""
        return self.resolve(self.near) + self._mac + b'\x08\0'

    def pour(self, packets, far, burst=BURST):
        """Send packets, and return when as many have come out at `far`."""
        head, packets = self.head(), iter(packets)
        while some := list(itertools.islice(packets, burst)):
            with loop.lock:
                far._wanted = far.came + len(some)
                for packet in some:
                    self.wire.carry(head + packet, self)
                loop.wait(lambda: far.came >= far._wanted, 60, f'{len(some)} packets to come out at {far.ip}')

    def pour_in(self, packets):
        """Send packets to the gateway itself."""
        head, packets = self.head(), iter(packets)
        ping = crowd.ip(1, crowd.aton(self.ip), crowd.aton(self.near), b'\x08\0\xf7\xff' + bytes(20))
        while burst := list(itertools.islice(packets, BURST - 1)):
            with loop.lock:
                heard = self._echoes
                for packet in burst + [ping]:
                    self.wire.carry(head + packet, self)
                loop.wait(lambda: self._echoes > heard, 60, f'{self.near} to answer a ping')


class Bench:
    """The example's gateway between two sides, in a `with` block. Connections
    and rules are as many as one makes."""

    def __init__(self, flavour='on', memory=16, rules=MASQUERADING, **options):
        self.net = lab.Lab(lab.kernel('2.0.40', flavour, patch=PATCH))
        inside, outside = self.net.wire('inside'), self.net.wire('outside')
        self.gateway = self.net.machine(
            'gateway', [(inside, f'{lab.INSIDE}/24'), (outside, f'{lab.OUTSIDE}/24')],
            on_link=[('163.158.0.0/16', 'eth1')], rc=rules + '/sbin/ipfwadm -M -s 9000 9000 9000\n',
            icount=True, nic='tulip', memory=memory, **options)
        self.server = self.net._also(Side(inside, '52:54:00:00:02:01', f'{lab.SERVER}/24', lab.INSIDE))
        self.client = self.net._also(Side(outside, '52:54:00:00:02:02', f'{lab.CLIENT}/24', lab.OUTSIDE,
                                          also=['163.158.0.0/16']))

    def __enter__(self):
        self.net.__enter__()
        try:
            self.net.boot()
            for side in self.client, self.server:
                side.pour_in([crowd.udp(crowd.aton(side.ip), 9, crowd.aton(side.near), 9)])
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, kind, *rest):
        return self.net.__exit__(kind, *rest)

    def sh(self, command):
        return self.gateway.sh(command, timeout=600)

    def counted(self):
        """What the kernel has counted since it was asked last:
        (protocol, way) -> (count, least, sum)."""
        lines = self.sh('cat /proc/net/measure').out.splitlines()
        return {(int(protocol), int(way)): tuple(map(int, rest))
                for protocol, way, *rest in (line.split() for line in lines) if protocol != 'time'}

    def _costs(self, packets, *ways):
        counted, costs = self.counted(), []
        for way in ways:
            count, least, total = counted.get((packets[0][9], way), (0, 0, 0))
            if count != len(packets):
                raise lab.LabError(f'{count} packets were counted, {len(packets)} sent')
            costs.append(Cost(least, total / count))
        return costs

    def forwarded(self, side, packets):
        """The Cost of packets sent from one side to the other, one by one lest
        those behind interrupt."""
        packets = list(packets)
        self.counted()
        side.pour(packets, self.client if side is self.server else self.server, burst=1)
        return self._costs(packets, FORWARDED)[0]

    def delivered(self, side, packets, *more):
        """The Cost of packets to the gateway itself; with ANSWERED, also that
        of them and their answers of the same protocol."""
        packets = list(packets)
        self.counted()
        side.pour_in(packets)
        return self._costs(packets, DELIVERED, *more)


def packet(protocol, source, sport, destination, dport, size):
    """One with a payload of that many bytes (or as many as a frame has room
    for), such as there are many in a connection."""
    data = random.Random(size).randbytes(min(size, LARGEST[protocol]))
    if protocol == 6:
        return crowd.tcp(source, sport, destination, dport, ACK, 1000, 2000, data)
    return crowd.udp(source, sport, destination, dport, data)


# What is forwarded

RULES = 'ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80; ipportfw -A -u194.160.1.1/525 -R 10.0.0.2/525\n'
LIMITS = '''\
echo half_open 65536 >/proc/net/ip_portfw_limits
echo connections 65536 >/proc/net/ip_portfw_limits
'''


# By chance: numbers in a row are spread more evenly than others by any hash.
CLIENT_PORTS = random.Random(0).sample(range(1024, 65536), 64000)


def clients(number, first=0):
    """Addresses and ports of that many clients: a thousand an address."""
    for i in range(first, first + number):
        yield crowd.aton(f'163.158.1.{2 + i // 1000}'), CLIENT_PORTS[i]


def begins(protocol, ends):
    """The clients' first packets."""
    if protocol == 6:
        return [crowd.tcp(c, p, OUTSIDE, PORTS[6], crowd.SYN, 999) for c, p in ends]
    return inward(protocol, ends, 18)


def dial(bench, protocol, ends):
    """Open connections of clients to the example's port."""
    ends, port = list(ends), PORTS[protocol]
    if protocol == 6:
        answers = [crowd.tcp(SERVER, port, c, p, crowd.SYN | crowd.ACK, 1999, 1000) for c, p in ends]
        ready = [crowd.tcp(c, p, OUTSIDE, port, crowd.ACK, 1000, 2000) for c, p in ends]
    else:
        answers, ready = outward(protocol, ends, 18), inward(protocol, ends, 18)
    bench.client.pour(begins(protocol, ends), bench.server)
    bench.server.pour(answers, bench.client)
    bench.client.pour(ready, bench.server)


def inward(protocol, ends, size):
    return [packet(protocol, c, p, OUTSIDE, PORTS[protocol], size) for c, p in ends]


def outward(protocol, ends, size):
    return [packet(protocol, SERVER, PORTS[protocol], c, p, size) for c, p in ends]


def some(ends):
    """Of these clients the oldest, and others by chance, by turns."""
    chance = random.Random(len(ends))
    return [end for other in chance.choices(ends, k=PACKETS // 2) for end in (ends[0], other)]


# What is not

def foreign(bench, number=PACKETS, sizes=SIZES):
    """The Costs of packets that have nothing to do with any rule:
    (way, protocol, size) -> Cost."""
    costs = {}
    bench.sh(ROUTING)
    for protocol, size in itertools.product(PORTS, sizes):
        there, back = (packet(protocol, a, 5, b, 6, size) for a, b in ((CLIENT, SERVER), (SERVER, CLIENT)))
        costs['routed in', protocol, size] = bench.forwarded(bench.client, [there] * number)
        costs['routed out', protocol, size] = bench.forwarded(bench.server, [back] * number)
    bench.sh(MASQUERADING)
    for protocol, size in itertools.product(PORTS, sizes):
        there = packet(protocol, SERVER, 5, CLIENT, 6, size)
        bench.server.pour([there], bench.client)
        port = int.from_bytes(bench.client.last[34:36], 'big')
        back = packet(protocol, CLIENT, 6, OUTSIDE, port, size)
        here = packet(protocol, CLIENT, 6, OUTSIDE, crowd.CLOSED, size)
        costs['masqueraded out', protocol, size] = bench.forwarded(bench.server, [there] * number)
        costs['masqueraded in', protocol, size] = bench.forwarded(bench.client, [back] * number)
        ways = ['delivered', 'and answered'][:1 + (protocol == 6)]      # by a reset
        for way, cost in zip(ways, bench.delivered(bench.client, [here] * number, *[ANSWERED] * (len(ways) - 1))):
            costs[way, protocol, size] = cost
    return costs
