# SPDX-License-Identifier: GPL-2.0-only
"""Frames that were seen, and how to find one among them."""

import logging
import struct
import time

logging.getLogger('scapy').setLevel(logging.ERROR)     # it warns of this machine's own routes

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from .loop import LabError, loop


class Frame:
    """One frame: when it was seen, its bytes, and on demand scapy's view."""

    __slots__ = ('time', 'raw', '_packet')

    def __init__(self, raw):
        self.time, self.raw, self._packet = time.time(), raw, None

    @property
    def packet(self):
        if self._packet is None:
            self._packet = Ether(self.raw)
            self._packet.time = self.time
        return self._packet

    def is_a(self, layer, where=None, **fields):
        """Whether it has the layer, with these values in the layer's fields
        (or in the IP header's), and where(packet) is true."""
        packet = self.packet
        if layer not in packet:
            return False
        for name, value in fields.items():
            holder = packet[layer] if any(f.name == name for f in layer.fields_desc) else packet.getlayer(IP)
            if holder is None or getattr(holder, name) != value:
                return False
        return where is None or bool(where(packet))


class Frames:
    """A list of frames that grows while one looks."""

    def __init__(self, name):
        self.name = name
        self._frames = []
        self._waited = False

    def add(self, raw):
        self._frames.append(Frame(raw))
        if self._waited:
            loop.news()

    def __iter__(self):
        return iter(list(self._frames))

    def __len__(self):
        return len(self._frames)

    def clear(self):
        with loop.lock:
            self._frames.clear()

    @property
    def packets(self):
        return [frame.packet for frame in self]

    def only(self, layer, where=None, **fields):
        """The packets that are so, in order."""
        return [f.packet for f in self if f.is_a(layer, where, **fields)]

    def expect(self, layer, where=None, timeout=30, **fields):
        """Wait for the first packet that is so, and take it out of the list."""
        seen = 0

        def first():
            nonlocal seen
            for index in range(seen, len(self._frames)):
                if self._frames[index].is_a(layer, where, **fields):
                    return self._frames.pop(index).packet
                seen = index + 1
            return None

        self._waited = True
        try:
            return loop.wait(first, timeout, lambda: f'{self.name}: {wanted(layer, fields)}{self.story()}')
        finally:
            self._waited = False

    def story(self):
        """What was seen instead, one line a frame."""
        if not self._frames:
            return '; nothing was seen'
        return ''.join(f'\n  seen: {f.packet.summary()}' for f in self._frames[-20:]) + '\n '

    def save(self, path):
        wrpcap(str(path), self.packets)


def wanted(layer, fields):
    return ' '.join([layer.__name__, *(f'{k}={v}' for k, v in fields.items())])


def ones_sum(data):
    """The ones' complement sum of 16-bit words: 0xffff over a checksummed area."""
    data = bytes(data)
    data += b'\0' * (len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def transport_sum(raw):
    """What the receiver of a TCP or UDP packet (as bytes) sums up: 0xffff if it
    is right."""
    head, payload = raw[:(raw[0] & 15) * 4], raw[(raw[0] & 15) * 4:]
    return ones_sum(head[12:20] + struct.pack('!HH', head[9], len(payload)) + payload)


def check_sums(packet):
    """Raise unless the IP header's and (for a whole packet) the payload's
    checksum are right. A UDP checksum of zero means none, and is right."""
    ip = packet[IP]
    raw = bytes(ip.original)[:ip.len]
    header, payload = raw[:ip.ihl * 4], raw[ip.ihl * 4:]
    if ones_sum(header) != 0xffff:
        raise LabError(f'wrong IP checksum: {packet.summary()}')
    if ip.frag or ip.flags.MF or (UDP in packet and packet[UDP].chksum == 0):
        return
    if ip.proto in (1, 6, 17) and (ones_sum(payload) if ip.proto == 1 else transport_sum(raw)) != 0xffff:
        raise LabError(f'wrong checksum: {packet.summary()}')
