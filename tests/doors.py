# SPDX-License-Identifier: GPL-2.0-only
"""Forwarded ports, and conversations through them between two stations."""

import contextlib
import dataclasses
import itertools

import lab
from lab import IP, TCP, UDP

# One of each group that can do it all, if none is spared.
VERSIONS = lab.GROUPS[1:] if lab.ALL else lab.GROUPS[-1:]
ALIAS = '194.160.1.9'
# Boot script lines: another address of the gateway's outer interface.
ALIAS_RC = f'''\
/sbin/ifconfig eth1:0 {ALIAS} netmask 255.255.255.0 broadcast 194.160.1.255
/sbin/route add -host {ALIAS} dev eth1:0
'''
_ids = itertools.count()


def next_id():
    """An identification by which a packet is known again."""
    return next(_ids) & 0x3fff | 0x4000


@dataclasses.dataclass(frozen=True)
class Door:
    """A rule: `layer` (TCP or UDP), the local address, its port, the port at
    the server. Clients ask `asked`."""

    layer: type
    local: str
    port: int
    inner: int
    asked: str = ''
    host: str = lab.SERVER

    def __post_init__(self):
        object.__setattr__(self, 'asked', self.asked or self.local)

    @property
    def name(self):
        return f'-{self.layer.__name__[0].lower()}{self.local}/{self.port}'

    @property
    def rule(self):
        return f'/usr/local/sbin/ipportfw -A {self.name} -R {self.host}/{self.inner}'

    def query(self, sport, data=b'', ip=None, **fields):
        """A packet of a client."""
        return IP(dst=self.asked, **(ip or {})) / self.layer(sport=sport, dport=self.port, **fields) / data

    def answer(self, sport, data=b'', client=lab.CLIENT, ip=None, **fields):
        """A packet of the server."""
        return IP(src=self.host, dst=client, **(ip or {})) / self.layer(sport=self.inner, dport=sport, **fields) / data

    def inward(self, packet):
        """The client's packet as it should come out inside."""
        return changed(packet, dst=self.host, dport=self.inner)

    def outward(self, packet):
        """The server's packet as it should come out outside."""
        return changed(packet, src=self.asked, sport=self.port)

    def __str__(self):
        return f'{self.layer.__name__} {self.local} {self.port} {self.inner} {self.asked}'


def changed(packet, hops=1, **fields):
    """A packet, so many hops on, with `fields` of IP or its ports changed."""
    new = IP(bytes(packet))
    new.ttl -= hops
    layer = new.payload
    for name, value in fields.items():
        setattr(layer if name.endswith('port') else new, name, value)
    summed = layer.chksum != 0
    del new.chksum
    if summed:
        del layer.chksum
    return IP(bytes(new))


def expires(gateway, layer, sport):
    """The ticks until the connection of a client's port is forgotten, or None."""
    for line in gateway.sh('cat /proc/net/ip_masquerade').out.splitlines()[1:]:
        protocol, _, client, *_, ticks = line.split()
        if protocol == layer.__name__ and client.endswith(f':{sport:04X}'):
            return int(ticks)
    return None


def sends(station, packet):
    """Send a packet from a station, and return it as it was sent."""
    packet = packet.copy()
    packet.src = packet.fields.get('src', station.ip)
    packet.id = next_id()
    packet = IP(bytes(packet))
    station.send(packet)
    return packet


def takes(station, packet):
    """Wait for what became of a packet, and return it: its sums are right."""
    came = station.expect(IP, id=packet.id, dst=packet.dst)
    lab.check_sums(came)
    assert bytes(came[IP])[:came[IP].len] == bytes(packet), came.show(dump=True)
    return packet


class Conversation:
    """An open connection through a door. What one end says comes out at the
    other as it should, or an exception is raised."""

    def __init__(self, net, door, sport, client=None):
        self.door, self.sport = door, sport
        self.client, self.server = client or net.client, net.server
        self._seq = {self.client: 1000, self.server: 5000}
        if door.layer is TCP:
            self.ask(flags='S')
            self.answer(flags='SA')
            self._seq[self.client] += 1
            self._seq[self.server] += 1
            self.ask()
        else:
            self.ask(b'question')
            self.answer(b'answer')
            self.ask(b'thanks')

    def _fields(self, here, there, data, fields):
        if self.door.layer is TCP:
            fields = {'flags': 'PA' if data else 'A', 'seq': self._seq[here], **fields}
            if 'A' in fields['flags']:
                fields['ack'] = self._seq[there] + (fields['flags'] == 'SA')
            self._seq[here] += len(data)
        return fields

    def query(self, data=b'', **fields):
        """The next packet of the client, not sent."""
        return self.door.query(self.sport, data, **self._fields(self.client, self.server, data, fields))

    def reply(self, data=b'', **fields):
        """The next packet of the server, not sent."""
        fields = self._fields(self.server, self.client, data, fields)
        return self.door.answer(self.sport, data, client=self.client.ip, **fields)

    def ask(self, data=b'', **fields):
        """The client says something. Returns the packet as it was sent and as
        it came."""
        sent = sends(self.client, self.query(data, **fields))
        return sent, takes(self.server, self.door.inward(sent))

    def answer(self, data=b'', **fields):
        """The server says something. Returns the packet as it was sent and as
        it came."""
        sent = sends(self.server, self.reply(data, **fields))
        return sent, takes(self.client, self.door.outward(sent))


@contextlib.contextmanager
def for_a_while(net, begin, end):
    """Two shell commands of the gateway: one before, one after."""
    net.gateway.sh(begin)
    try:
        yield
    finally:
        net.gateway.sh(end)
