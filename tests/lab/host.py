# SPDX-License-Identifier: GPL-2.0-only
"""Hosts: a network namespace on a wire, with this machine's own TCP stack."""

import os
import pathlib
import shlex
import socket
import subprocess
import sys
import tempfile

from .loop import LabError, loop
from .result import Result
from .wire import Port

HOLDER = pathlib.Path(__file__).with_name('holder.py')
# Programs end with the lab even if it is killed.
MORTAL = ['setpriv', '--pdeathsig', 'KILL']


class NoNamespaces(LabError):
    """This machine lets us make no network namespace."""


class Host:
    """A network namespace whose eth0 is on a wire. `routes` are further
    arguments of `ip route add`."""

    def __init__(self, name, wire, mac, address, via=None, routes=()):
        self.name, self.ip = name, address.split('/')[0]
        self._started = []
        self._line, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as err:
            self._holder = subprocess.Popen([sys.executable, '-I', HOLDER], stdin=theirs, stderr=err)
            theirs.close()
            _, tap, *_ = socket.recv_fds(self._line, 16, 1)
            if not tap:
                self._holder.wait()
                err.seek(0)
                raise NoNamespaces(err.read().decode().strip())
        self.port = Port(wire, mac, tap[0])
        # Without IPv6, so that a silent host is silent.
        ip = ['link set lo up', f'link set eth0 address {mac} addrgenmode none up', f'address add {address} dev eth0']
        ip += [f'route add {route}' for route in ([f'default via {via}'] if via else []) + list(routes)]
        self.run(['ip', '-batch', '-'], input='\n'.join(ip))

    @property
    def pid(self):
        """The process that keeps the namespace."""
        return self._holder.pid

    def command(self, argv):
        """The command line that runs argv on this host."""
        user = [] if os.geteuid() == 0 else ['--user', '--preserve-credentials']
        return ['nsenter', '--target', str(self.pid), '--net', *user, '--', *argv]

    def popen(self, argv, **options):
        """Start a program; it is ended with the host at the latest."""
        process = subprocess.Popen([*MORTAL, *self.command(argv)], **options)
        self._started.append(process)
        return process

    def run(self, argv, timeout=120, check=True, input=None):
        """Run a program to its end, and return its Result."""
        argv = [str(word) for word in argv]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
            given.write(input.encode() if isinstance(input, str) else input or b'')
            given.seek(0)
            process = self.popen(argv, stdin=given, stdout=out, stderr=err)
            self.wait(process, timeout, shlex.join(argv))
            out.seek(0)
            err.seek(0)
            result = Result(self.name, shlex.join(argv), process.returncode, out.read(), err.read())
        return result.checked() if check else result

    def wait(self, process, timeout=120, what=None):
        """Wait for a started program's end, and return its exit status."""
        end = os.pidfd_open(process.pid)

        def ended(events):
            # An event may be that of the last descriptor with this number.
            if process.poll() is not None:
                loop.remove(end)
                loop.news()

        try:
            loop.add(end, ended)
            loop.wait(lambda: process.poll() is not None, timeout, f'{self.name}: end of {what or process.args}')
        finally:
            loop.remove(end)
            os.close(end)
            self._end(process)
        return process.returncode

    def socket(self, kind=socket.SOCK_STREAM, family=socket.AF_INET):
        """A Python socket that is on this host."""
        self._line.send(f'{int(family)} {int(kind)}'.encode())
        _, (fd,), *_ = socket.recv_fds(self._line, 16, 1)
        return socket.socket(fileno=fd)

    def wait_listening(self, port, timeout=30):
        """Wait until a program listens on a TCP port."""
        def listening():
            tables = pathlib.Path(f'/proc/{self.pid}/net')
            for table in (*tables.glob('tcp'), *tables.glob('tcp6')):
                for line in table.read_text().splitlines()[1:]:
                    _, local, _, state, *_ = line.split()
                    if local.endswith(f':{port:04X}') and state == '0A':
                        return True
        loop.wait(listening, timeout, f'{self.name}: a listener on port {port}', poll=0.02)

    def _end(self, process):
        if process.poll() is None:
            process.kill()
        process.wait()
        if process in self._started:
            self._started.remove(process)

    def close(self):
        for process in list(self._started):
            self._end(process)
        self.port.close()
        self._line.close()
        self._holder.wait()
