# SPDX-License-Identifier: GPL-2.0-only
"""Stations: the test itself on a wire, speaking frame by frame."""

import ipaddress
import itertools
import socket
import struct

from scapy.layers.inet import ICMP, IP

from .frames import Frames, wanted
from .loop import Late, LabError, loop

ARP = b'\x08\x06'
ARP_HEAD = struct.pack('!HHBB', 1, 0x0800, 6, 4)
BROADCAST = b'\xff' * 6
_idents = itertools.count(1)


def _bytes(mac):
    return bytes.fromhex(mac.replace(':', ''))


class Station:
    """An address on a wire without a protocol stack behind it. It answers ARP
    for its address and for `also` (addresses or whole networks), and keeps
    what it is sent in `inbox`. What is not in its own network goes by `via`;
    without a `via` everybody is taken to be on the wire."""

    backlog, dropped = (), 0            # a port that is never slow

    def __init__(self, wire, mac, address, via=None, also=()):
        interface = ipaddress.ip_interface(address)
        self.wire, self.mac, self.via = wire, mac, via
        self.ip, self.network = str(interface.ip), interface.network
        self.inbox = Frames(f'station {self.ip}')
        self._mac = _bytes(mac)
        self._answers = [ipaddress.ip_network(a) for a in (self.ip, *also)]
        self._known = {}
        wire.attach(self)

    def close(self):
        self.wire.detach(self)

    def take(self, frame):
        if frame[12:14] == ARP:
            self._take_arp(frame)
        elif frame[:6] == self._mac or frame[0] & 1:
            self.inbox.add(frame)

    def _take_arp(self, frame):
        if len(frame) < 42 or frame[14:20] != ARP_HEAD:
            return
        operation, mac, ip, target = frame[20:22], frame[22:28], frame[28:32], frame[38:42]
        self._known[socket.inet_ntoa(ip)] = mac
        loop.news()
        address = ipaddress.IPv4Address(target)
        if operation == b'\0\1' and ip != target and any(address in net for net in self._answers):
            self.wire.carry(mac + self._mac + ARP + ARP_HEAD + b'\0\2' + self._mac + target + mac + ip, self)

    def resolve(self, ip):
        """The Ethernet address of a neighbour, asked by ARP once."""
        if ip not in self._known:
            request = self._mac + socket.inet_aton(self.ip) + bytes(6) + socket.inet_aton(ip)
            self.send_raw(BROADCAST + self._mac + ARP + ARP_HEAD + b'\0\1' + request)
            loop.wait(lambda: ip in self._known, 30, f'station {self.ip}: ARP reply of {ip}')
        return self._known[ip]

    def frame(self, packet, to=None):
        """The bytes of a packet in the frame that would carry it from here, or
        that carries it to the neighbour `to`."""
        if 'src' not in packet.fields:
            packet = packet.copy()
            packet.src = self.ip
        if len(packet) > 1500:
            raise LabError(f'{len(packet)} bytes are too long for a frame: {packet.summary()}')
        if to is None:
            near = self.via is None or ipaddress.ip_address(packet.dst) in self.network
            to = packet.dst if near else self.via
        return self.resolve(to) + self._mac + b'\x08\0' + bytes(packet)

    def send(self, *packets, to=None):
        """Send IP packets (from our own address unless they say otherwise),
        perhaps by way of the neighbour `to`."""
        for packet in packets:
            self.send_raw(self.frame(packet, to))

    def send_raw(self, frame):
        self.wire.inject(frame, self)

    def expect(self, layer, where=None, timeout=30, **fields):
        """Wait for a packet that is so, and take it from the inbox."""
        return self.inbox.expect(layer, where, timeout, **fields)

    def ping(self, ip, timeout=30):
        """Return when `ip` has answered an echo request. It has then dealt
        with all it was sent before on this wire; what it sent is delivered."""
        late = loop.deadline(timeout)
        ident = next(_idents) & 0xffff
        answered = False
        while not answered:
            # A card that is being flooded loses frames: ask again.
            self.send(IP(dst=ip) / ICMP(type=8, id=ident) / b'are you there?')
            try:
                answered = self.expect(ICMP, type=0, id=ident, src=ip, timeout=1)
            except Late:
                if late():
                    raise
        loop.settle()

    def expect_nothing(self, sentinel, layer, where=None, **fields):
        """Raise if a packet that is so has come, or comes before `sentinel`,
        which must have had its cause before, answers a ping."""
        self.ping(sentinel)
        if self.inbox.only(layer, where, **fields):
            raise LabError(f'station {self.ip}: unwelcome {wanted(layer, fields)}{self.inbox.story()}')
