# SPDX-License-Identifier: GPL-2.0-only
"""One client's connection through the gateway, packet by packet, between two
stations: what one of them sends must come out at the other, translated, whole
and right."""

import lab
from lab import IP, TCP


class Dialogue:
    """A client's port, the address and port it asks, and those of the server.
    `seen` is the client as the server sees it; its port is learned if None."""

    def __init__(self, client, server, sport, asked=80, inside=80, seen=None, layer=TCP, address=lab.OUTSIDE):
        self.client, self.server, self.layer = client, server, layer
        self.near, self.asked, self.inside = (client.ip, sport), (address, asked), (server.ip, inside)
        self.seen = seen or self.near
        self._next = {client: 1000, server: 500_000}      # sequence numbers

    def inward(self, flags='', data=b''):
        """The client sends. Returns what has come to the server."""
        return self._arrives(self.server, self.seen, self.inside, self.send_inward(flags, data))

    def outward(self, flags='', data=b''):
        """The server sends. Returns what has come to the client."""
        return self._arrives(self.client, self.asked, self.near, self.send_outward(flags, data))

    def send_inward(self, flags='', data=b''):
        return self._send(self.client, self.server, self.near, self.asked, flags, data)

    def send_outward(self, flags='', data=b''):
        return self._send(self.server, self.client, self.inside, self.seen, flags, data)

    def open(self):
        """TCP's three segments. Returns the dialogue."""
        self.inward('S')
        self.outward('SA')
        self.inward('A')
        return self

    def talk(self):
        """Both ways, acknowledged; the words are nobody else's."""
        self.inward('PA', f'question {self.near} {self.asked}'.encode())
        self.outward('PA', f'answer {self.near} {self.asked}'.encode())
        self.inward('A')

    def close(self):
        """TCP's orderly end, begun by the client."""
        self.inward('FA')
        self.outward('FA')
        self.inward('A')

    def reset(self):
        """The client gives up."""
        self.inward('R')

    def refused(self, flags='S'):
        """The client is told at once, by whom it asked, and the server is not
        bothered."""
        sent = self.send_inward(flags)
        answer = self.client.expect(TCP, src=self.asked[0], sport=self.asked[1], dport=self.near[1],
                                    where=lambda p: 'R' in p[TCP].flags)
        lab.check_sums(answer)
        if 'A' in flags:
            assert answer[TCP].seq == sent[TCP].ack
        else:
            assert answer[TCP].ack == sent[TCP].seq + 1
        self.nothing_inward()

    def lost_inward(self, flags='', data=b''):
        """What the client sends does not come to the server."""
        self.send_inward(flags, data)
        self.client.ping(lab.OUTSIDE)
        self.nothing_inward()

    def lost_outward(self, flags='', data=b''):
        """What the server sends comes to the client in no shape."""
        self.send_outward(flags, data)
        self.server.ping(lab.INSIDE)
        self.client.expect_nothing(lab.OUTSIDE, self.layer, dport=self.near[1])

    def nothing_inward(self):
        self.server.expect_nothing(lab.INSIDE, self.layer, sport=self.near[1])

    def expires(self, gateway):
        """The ticks until the gateway forgets it, or None."""
        ends = [f'{int.from_bytes(map(int, address.split(".")), "big"):08X}:{port:04X}'
                for address, port in (self.inside, self.near)]
        for line in gateway.sh('cat /proc/net/ip_masquerade').out.splitlines()[1:]:
            fields = line.split()
            if fields[:4] == [self.layer.__name__, *ends, f'{self.asked[1]:04X}']:
                return int(fields[-1])
        return None

    def _send(self, sender, other, src, dst, flags, data):
        segment = self.layer(sport=src[1], dport=dst[1])
        if self.layer is TCP:
            segment.flags, segment.seq = flags, self._next[sender]
            segment.ack = self._next[other] if 'A' in flags else 0
            self._next[sender] += len(data) + ('S' in flags) + ('F' in flags)
        packet = IP(src=src[0], dst=dst[0]) / segment / data
        sender.send(packet)
        return packet

    def _arrives(self, at, src, dst, sent):
        wanted = dict(src=src[0], dst=dst[0], dport=dst[1])
        if src[1]:
            wanted['sport'] = src[1]
        if self.layer is TCP:
            wanted |= dict(seq=sent[TCP].seq, ack=sent[TCP].ack, flags=sent[TCP].flags)
        got = at.expect(self.layer, **wanted)
        lab.check_sums(got)
        data = bytes(got[self.layer])[:got[IP].len - 20][len(self.layer()):]
        assert data == bytes(sent[self.layer].payload), got.show(dump=True)
        if src[1] is None:
            self.seen = (src[0], got.sport)
        return got


def says(one, words, other):
    """What one socket sends comes out of the other."""
    one.sendall(words)
    heard = b''
    while len(heard) < len(words):
        piece = other.recv(65536)
        assert piece, 'the connection was closed'
        heard += piece
    assert heard == words
