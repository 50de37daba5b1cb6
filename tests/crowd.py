# SPDX-License-Identifier: GPL-2.0-only
"""Crowds: frames by the hundred thousand, at the pace a gateway takes them; and
honest people, who must notice nothing of it."""

import contextlib
import itertools
import pathlib
import socket
import struct
import subprocess
import tempfile
import threading

import lab
from lab import loop
from lab.loop import PATIENCE

# An Ethernet card's ring has room for 32 frames; a burst and the next are less.
BURST = 12
# Seconds. After a burst an emulated card may stand still until something is
# sent again.
STALL = 240
CLOSED = 9          # a port where nobody listens
# Says everything back, by TCP and UDP: on which ports, its arguments say.
ECHO = '''
import socketserver, sys, threading
class Tcp(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        self.request[1].sendto(self.request[0], self.client_address)
socketserver.ThreadingTCPServer.request_queue_size = 128
socketserver.ThreadingTCPServer.daemon_threads = True
for word in sys.argv[1:]:
    kind, port = word.split('/')
    server = socketserver.UDPServer if kind == 'udp' else socketserver.ThreadingTCPServer
    server = server(('', int(port)), Udp if kind == 'udp' else Tcp)
    threading.Thread(target=server.serve_forever).start()
'''
numbers = itertools.count(1)


def echo(host, ports=('udp/525', 'tcp/80')):
    """Have a host answer; the last port is one of TCP."""
    host.popen(['/usr/bin/python3', '-c', ECHO, *ports], stderr=subprocess.DEVNULL)
    host.wait_listening(int(ports[-1].split('/')[1]))


def program(name):
    """The bytes of a guest's program, compiled from tests/guest/NAME.c."""
    with tempfile.NamedTemporaryFile() as made:
        subprocess.run([lab.guest() / 'bin/guest-cc', '-std=gnu99', '-Os', '-Wall', '-s', '-I', lab.TOP / 'src/include',
                        '-o', made.name, lab.TOP / f'tests/guest/{name}.c'], check=True)
        return pathlib.Path(made.name).read_bytes()


def connections(gateway, but=None):
    """How many there are (but those of a client, if one is named), and how many
    ports for UDP, TCP and ICMP masquerading has left. Counted there: a large
    answer would take memory of the gateway's for good."""
    but = aton(but).hex().upper() if but else '(free='
    heading, number = gateway.sh(f'f=/proc/net/ip_masquerade; head -n 1 $f; grep -v "{but}" $f | grep -vcF "(free="; :'
                                 ).out.splitlines()
    return int(number), [int(ports) for ports in heading.split('(free=')[1].split(')')[0].split(',')]


def ones(data):
    """The internet checksum of some bytes (0xffff where others say 0)."""
    return 0xffff - int.from_bytes(data + b'\0' * (len(data) % 2), 'big') % 0xffff


def aton(address):
    return socket.inet_aton(address)


def ip(protocol, source, destination, payload, ident=0):
    """An IP packet, addresses as bytes."""
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), ident, 0, 64, protocol, 0, source, destination)
    return head[:10] + ones(head).to_bytes(2, 'big') + head[12:] + payload


def tcp(source, sport, destination, dport, flags, seq=0, ack=0, data=b''):
    """A TCP segment in its IP packet."""
    head = struct.pack('!HHIIBBHHH', sport, dport, seq, ack, 0x50, flags, 8192, 0, 0)
    total = ones(source + destination + struct.pack('!HH', 6, 20 + len(data)) + head + data)
    return ip(6, source, destination, head[:16] + total.to_bytes(2, 'big') + head[18:] + data)


def udp(source, sport, destination, dport, data=b''):
    """A UDP datagram in its IP packet."""
    head = struct.pack('!HHH', sport, dport, 8 + len(data))
    total = ones(source + destination + struct.pack('!HH', 17, 8 + len(data)) + head + data)
    return ip(17, source, destination, head + total.to_bytes(2, 'big') + data)


FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


class Crowd(lab.Station):
    """Sends frames to the gateway at `near` as fast as that takes them, and
    counts what comes for it: `sent`, `came`, and what was sent `besides`."""

    def __init__(self, net, wire, address, near, also=()):
        super().__init__(wire, f'52:54:00:00:01:{next(numbers):02x}', address, also=also)
        self.near = near
        self.sent = self.besides = self.came = self._heard = 0
        self._port, self._address = next(numbers), aton(self.ip)
        self._mine = struct.pack('!HH', CLOSED, self._port)
        self.watch = None           # called with each frame that comes

    def ethernet(self, kind=b'\x08\0'):
        """The head of a frame to the gateway."""
        return self.resolve(self.near) + self._mac + kind

    def take(self, frame):
        if frame[12:14] == b'\x08\x06':
            self.besides += 1
            self._take_arp(frame)
        elif frame[34:38] == self._mine and frame[23] == 6:
            self._heard = max(self._heard, int.from_bytes(frame[42:46], 'big') - 1)
            loop.news()
        else:
            self.came += 1
            if self.watch:
                self.watch(frame)

    def _ask(self, number):
        """A SYN to a port where nobody listens: the reset that answers it says
        the number. (What the gateway may send by ICMP has bounds.)"""
        self.besides += 1
        self.wire.carry(self.ethernet() + tcp(self._address, self._port, aton(self.near), CLOSED, SYN, number), self)

    def _wait(self, number, timeout=STALL):
        """Wait until the gateway has dealt with all up to a ping."""
        late = loop.deadline(timeout)
        while True:
            try:
                return loop.wait(lambda: self._heard >= number, 0.5, f'the gateway to answer {self.ip}')
            except lab.Late:
                if late():
                    raise
            with loop.lock:
                self._ask(number)      # the card had no room for it

    def pour(self, frames):
        """Send frames, and return when the gateway has dealt with them."""
        self.ethernet()
        number, frames = self._heard, iter(frames)
        while burst := list(itertools.islice(frames, BURST)):
            number += 1
            with loop.lock:
                for frame in burst:
                    self.wire.carry(frame, self)
                self._ask(number)
            self.sent += len(burst)
            self._wait(number - 1)
        number += 1
        with loop.lock:
            self._ask(number)
        self._wait(number)

    def settle(self):
        """Return when the gateway has dealt with what it has been sent, and it
        and what it was sent from elsewhere meanwhile is delivered."""
        self.pour([])
        loop.settle()


class Honest(threading.Thread):
    """Says something and hears it back, again and again, until told to stop:
    over one connection, or over a new one each time."""

    one_at_a_time = threading.Lock()        # to ask a host for its sockets

    def __init__(self, host, port, kind=socket.SOCK_STREAM, again=False):
        super().__init__(daemon=True)
        self._host, self._port, self._kind, self._again = host, port, kind, again
        self._failed, self._enough = None, threading.Event()
        self.turns = 0
        self.sock = self._dial()
        self.start()

    def _dial(self):
        with self.one_at_a_time:
            sock = self._host.socket(self._kind)
        sock.settimeout(STALL * PATIENCE)
        sock.connect((lab.OUTSIDE, self._port))
        return sock

    def run(self):
        try:
            while not self._enough.is_set():
                if self._again:
                    self.sock.close()
                    self.sock = self._dial()
                data = f'turn {self.turns} '.encode() * (1 + self.turns % 100)
                if self._kind == socket.SOCK_STREAM:
                    self._by_stream(data)
                else:
                    self._by_datagram(data)
                self.turns += 1
        except Exception as error:
            self._failed = error

    def _by_stream(self, data):
        self.sock.sendall(data)
        heard = b''
        while len(heard) < len(data):
            piece = self.sock.recv(65536)
            assert piece, 'the connection was closed'
            heard += piece
        assert heard == data

    def _by_datagram(self, data):
        """One may get lost on the way, and is sent again."""
        self.sock.settimeout(PATIENCE)
        for _ in range(STALL):
            self.sock.send(data)
            with contextlib.suppress(TimeoutError):
                while (heard := self.sock.recv(65536)) != data:
                    assert data.startswith(b'turn ') and len(heard) <= len(data), heard
                return
        raise lab.LabError('no answer')

    def stop(self):
        """The number of turns, if all went well; there is one more at least."""
        before = self.turns
        loop.wait(lambda: self.turns > before or self._failed, STALL, 'an honest client to be heard', poll=0.01)
        self._enough.set()
        self.join()
        self.sock.close()
        if self._failed:
            raise self._failed
        return self.turns
