# SPDX-License-Identifier: GPL-2.0-only
"""Wires: what joins machines, hosts and stations, and what was seen on them."""

import collections
import contextlib
import os
import select

from .frames import Frames
from .loop import loop

BACKLOG = 1000      # frames a port may be behind before it loses some
BATCH = 64          # frames read from one port before the next has its turn


class Port:
    """The end of a wire that is a file descriptor carrying one frame a read or
    write: a tap, or a QEMU network card. Owns the descriptor."""

    def __init__(self, wire, mac, fd):
        self.wire, self.mac, self.fd = wire, mac, fd
        self.backlog = collections.deque()
        self.dropped = 0
        os.set_blocking(fd, False)
        wire.attach(self)
        loop.add(fd, self._ready)

    def take(self, frame):
        """Send a frame out of the wire, in its turn."""
        if self.backlog:
            if len(self.backlog) < BACKLOG:
                self.backlog.append(frame)
            else:
                self.dropped += 1
        elif not self._write(frame):
            self.backlog.append(frame)
            loop.want_write(self.fd, True)

    def _write(self, frame):
        try:
            os.write(self.fd, frame)
        except BlockingIOError:
            return False
        except OSError:                 # interface down, QEMU gone, a runt
            self.dropped += 1
        return True

    def _ready(self, events):
        if events & select.EPOLLOUT:
            while self.backlog and self._write(self.backlog[0]):
                self.backlog.popleft()
            if len(self.backlog) < BACKLOG // 2:
                loop.news()
            if not self.backlog:
                loop.want_write(self.fd, False)
        if events & ~select.EPOLLOUT:
            for _ in range(BATCH):
                try:
                    frame = os.read(self.fd, 65536)
                except BlockingIOError:
                    return
                self.wire.carry(frame, self)
            loop.unread()

    def close(self):
        with loop.lock:
            self.wire.detach(self)
            loop.remove(self.fd)
            os.close(self.fd)


class Wire:
    """A switch whose ports are told, not learned: a frame goes to the port of
    its destination address, or to all others if no port has it."""

    def __init__(self, name):
        self.name = name
        self._ports = []
        self._by_mac = {}
        self._captures = []

    def attach(self, port):
        """Add a port: it has `mac`, and `take(frame)` is called for its frames."""
        with loop.lock:
            self._ports.append(port)
            self._by_mac[bytes.fromhex(port.mac.replace(':', ''))] = port

    def detach(self, port):
        with loop.lock:
            self._ports.remove(port)
            self._by_mac = {mac: p for mac, p in self._by_mac.items() if p is not port}

    def carry(self, frame, source):
        """Carry a frame from one port. To be called with the loop's lock held."""
        if self._captures:
            for capture in self._captures:
                capture.add(frame)
        port = self._by_mac.get(frame[:6])
        if port is None:
            for port in self._ports:
                if port is not source:
                    port.take(frame)
        elif port is not source:
            port.take(frame)

    def inject(self, frame, source, timeout=60):
        """Put a frame of our own on the wire, as soon as nobody is far behind."""
        with loop.lock:
            loop.wait(lambda: all(len(p.backlog) < BACKLOG // 2 for p in self._ports),
                      timeout, f'wire {self.name}: a machine that takes its frames')
            self.carry(frame, source)

    @property
    def dropped(self):
        """Frames that a port was too slow for, or refused."""
        return sum(port.dropped for port in self._ports)

    @contextlib.contextmanager
    def capture(self):
        """Everything carried inside the `with`, as Frames."""
        frames = Frames(f'wire {self.name}')
        with loop.lock:
            self._captures.append(frames)
        try:
            yield frames
            loop.settle()
        finally:
            with loop.lock:
                self._captures.remove(frames)
