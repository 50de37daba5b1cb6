# SPDX-License-Identifier: GPL-2.0-only
"""make run: the example's network, and a person at the gateway."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import termios

import lab
from demo import FILES, SERVER
from lab import LabError, loop
from lab.host import MORTAL
from lab.machine import QEMU
from lab.wire import Port

HINT = '''
You are on the gateway: Linux {version}, 194.160.1.1 outside and 10.0.0.1 inside.
A web server is on 10.0.0.2 inside. From another terminal of your own machine,

    curl http://127.0.0.1:{port}/

asks 194.160.1.1/80 for its page, as a client outside. Here, try

    ipportfw -L                            the rules
    netstat -M -n                          the connections
    ipportfw -D -t194.160.1.1/80           and curl again
    ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80

Ctrl-A x ends it all.

  booting the gateway ...'''


def port_of(text):
    """The port of 127.0.0.1 to listen on, if it is to be had."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise LabError(f"PORT={text} is no port: choose one from 1 to 65535")
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(('127.0.0.1', int(text)))
        except OSError as error:
            raise LabError(f'cannot listen on port {text} of 127.0.0.1 ({error.strerror}): '
                           'choose another, as in make run PORT=8090') from None
    return int(text)


class Door:
    """Lets programs of this machine reach 194.160.1.1/80 by a port of
    127.0.0.1, without being root: QEMU's user networking, on the wire as
    163.158.1.3."""

    def __init__(self, wire, port):
        self._said = tempfile.TemporaryFile()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with theirs:
            self._process = subprocess.Popen([
                *MORTAL, QEMU, '-M', 'none', '-nodefaults', '-display', 'none',
                '-netdev', 'user,id=user,net=163.158.1.0/24,host=163.158.1.3,dns=163.158.1.4,'
                           f'hostfwd=tcp:127.0.0.1:{port}-194.160.1.1:80',
                '-netdev', f'dgram,id=wire,local.type=fd,local.str={theirs.fileno()}',
                '-netdev', 'hubport,id=a,hubid=0,netdev=user', '-netdev', 'hubport,id=b,hubid=0,netdev=wire',
            ], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=self._said)
        Port(wire, '52:55:a3:9e:01:03', ours.detach())

    def check(self):
        """Raise if nobody can come in."""
        if self._process.poll() is not None:
            self._said.seek(0)
            raise LabError(f'the way in from this machine is closed: {self._said.read().decode().strip()}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def terminal():
    """Leaves the terminal as it was, though QEMU may not live to do it."""
    settings = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)


def stay(gateway, door):
    """Return when the person has ended the gateway, or had it start anew. A
    kernel that fails is no such end: it raises."""
    try:
        gateway.ready()
        door.check()
        # Once the shell is at its prompt, it can be told the terminal's size.
        gateway.until('stty -a -F /dev/ttyS1 2>/dev/null | grep -q -e -icanon')
        columns, lines = shutil.get_terminal_size()
        gateway.sh(f'stty -F /dev/ttyS1 columns {columns} rows {lines}')
        while True:
            with contextlib.suppress(lab.Late):
                loop.wait(lambda: False, 3600, 'the end')
    except lab.Panic:
        if gateway.dead != 'QEMU has ended':
            raise
        gateway.wait_end()


def main(version):
    if not sys.stdin.isatty():
        raise LabError('this is for a person at a terminal, and standard input is none; '
                       'make demo shows the same without one')
    port = port_of(os.environ.get('PORT', '8080'))
    kernel = lab.kernel(version)
    lab.guest()
    with terminal(), lab.example(kernel, person='stdio', server_rc=SERVER, server_files=FILES) as net:
        print('  booting the web server ...', flush=True)
        net.server.boot()
        with Door(net.outside, port) as door:
            # The gateway's prompt, when it comes, is the last thing said.
            print(HINT.format(version=version, port=port), flush=True)
            net.gateway.start()
            stay(net.gateway, door)


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except LabError as error:
        sys.exit(f'make run: {error}')
    except KeyboardInterrupt:
        sys.exit(130)
