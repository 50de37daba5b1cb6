# SPDX-License-Identifier: GPL-2.0-only
"""The same bytes through the kernel and through a relay on the same gateway,
Debian's redir: all that the machine executes for them, in instructions."""

import contextlib
import dataclasses
import itertools
import threading

import cost
import lab

MEGABYTE = 1 << 20
CONNECTIONS = 100
MEGABYTES = 8
RELAY = 8080
PORTS = itertools.count(20_000)
IDLE_TURN = 3                           # instructions
TICKS = 200                             # of a calibration


@dataclasses.dataclass
class Work:
    """Instructions of the whole machine: from a connection's SYN to the first
    byte of the answer; from its beginning to its end; for a megabyte that the
    server sends over one, and for one that the client sends."""
    first_byte: float
    connection: float
    outward: float
    inward: float


class Gateway:
    """Tells what the machine has executed besides its idle loop, which must
    not halt (the clock goes on while it halts), and the clock's ticks."""

    def __init__(self, machine):
        self._machine = machine
        self._tick = self._own = 0
        self._own = min(self.work(lambda: None) for _ in range(5))
        self._tick = (self.work(lambda: machine.sh('sleep 4')) - self.work(lambda: machine.sh('sleep 2'))) / TICKS

    def _read(self):
        *_, (_, time, turns, ticks) = map(str.split, self._machine.sh('cat /proc/net/measure').out.splitlines())
        return int(time, 16), int(turns), int(ticks)

    def work(self, do):
        """The instructions that it takes to do()."""
        before = self._read()
        do()
        time, turns, ticks = (b - a for a, b in zip(before, self._read()))
        return time - IDLE_TURN * (turns % (1 << 32)) - ticks * self._tick - self._own


def serve(sock):
    """Take as many bytes of each client as it says, and give it as many as it
    asks for."""
    def give(conn):
        with conn, conn.makefile('rb') as file:
            size, wanted = map(int, file.readline().split())
            file.read(size)
            conn.sendall(bytes(wanted))

    with contextlib.suppress(OSError):          # closed
        while True:
            threading.Thread(target=give, args=[sock.accept()[0]], daemon=True).start()


def ask(client, where, size=0, wanted=1):
    """Connect, send so many bytes, ask for as many and read the first. Returns
    the socket."""
    sock = client.socket()
    sock.settimeout(120)
    # to the server all come from the client: each has a port of its own
    sock.bind(('', next(PORTS)))
    sock.connect(where)
    sock.sendall(b'%d %d\n' % (size, wanted) + bytes(size))
    if sock.recv(1) != b'\0':
        raise lab.LabError('the server has not answered')
    return sock


def finish(sock, wanted=1):
    """Read the rest, to the end."""
    with sock:
        while piece := sock.recv(65536):
            wanted -= len(piece)
    if wanted != 1:
        raise lab.LabError(f'{wanted - 1} bytes did not come')


def compare():
    """The Work of a router, of ours and of the relay."""
    redir = (lab.guest('redir') / 'redir/bin/redir').read_bytes()
    net = lab.Lab(lab.kernel('2.0.40', patch=cost.PATCH))
    inside, outside = net.wire('inside'), net.wire('outside')
    machine = net.machine('gateway', [(inside, f'{lab.INSIDE}/24'), (outside, f'{lab.OUTSIDE}/24')],
                          on_link=[('163.158.1.0/24', 'eth1')], icount=True, nic='tulip', cmdline='no-hlt',
                          files={'/sbin/redir': redir}, rc=cost.ROUTING + f'/sbin/redir :{RELAY} {lab.SERVER}:80\n')
    server = net.host('server', inside, f'{lab.SERVER}/24', via=lab.INSIDE)
    client = net.host('client', outside, f'{lab.CLIENT}/24',
                      on_link=['194.160.1.0/24', f'10.0.0.0/24 via {lab.OUTSIDE}'])
    with net:
        net.boot(timeout=120)
        with server.socket() as listener:
            listener.bind(('', 80))
            listener.listen(CONNECTIONS)
            threading.Thread(target=serve, args=[listener], daemon=True).start()
            gateway = Gateway(machine)
            theirs = through(gateway, client, (lab.OUTSIDE, RELAY))
            routed = through(gateway, client, (lab.SERVER, 80))
            machine.sh(cost.MASQUERADING + cost.RULES)
            return routed, through(gateway, client, (lab.OUTSIDE, 80)), theirs


def through(gateway, client, where):
    finish(ask(client, where))                  # who is where, is known then
    socks = []
    first = gateway.work(lambda: socks.extend(ask(client, where) for _ in range(CONNECTIONS)))
    last = gateway.work(lambda: [finish(sock) for sock in socks])
    connection = (first + last) / CONNECTIONS
    size = MEGABYTES * MEGABYTE
    outward = gateway.work(lambda: finish(ask(client, where, wanted=size), size))
    inward = gateway.work(lambda: finish(ask(client, where, size=size)))
    return Work(first / CONNECTIONS, connection, *((work - connection) / MEGABYTES for work in (outward, inward)))
