# SPDX-License-Identifier: GPL-2.0-only
"""Which functions a packet's instructions are spent in: the emulator writes
down where it executes each of them."""

import bisect
import collections
import pathlib
import re
import socket
import subprocess
import tempfile

from lab import LabError

TRACE = re.compile(rb'^Trace \d+: \S+ \[([0-9a-f]+)/([0-9a-f]+)/', re.M)
FIRST = 'ip_rcv'


class Tracer:
    """For a machine started with its `options`: what it executes between two
    moments. It is to be closed."""

    def __init__(self, kernel):
        self._scratch = tempfile.TemporaryDirectory(prefix='ipportfw-bench-')
        folder = pathlib.Path(self._scratch.name)
        self._log, self._path = folder / 'log', folder / 'monitor'
        # one instruction a block, and each block is told
        self.options = ['-singlestep', '-D', str(self._log), '-monitor', f'unix:{self._path},server=on,wait=off']
        names = subprocess.run(['nm', kernel / 'vmlinux'], check=True, capture_output=True, text=True).stdout
        self._symbols = sorted((int(address, 16), name) for address, kind, name in map(str.split, names.splitlines())
                               if kind in 'tT' and not name.startswith(('.', 'L')) and name != 'gcc2_compiled.')
        self._starts = [address for address, _ in self._symbols]
        self._monitor, self._seen = None, 0

    def close(self):
        if self._monitor:
            self._monitor.close()
        self._scratch.cleanup()

    def _say(self, command):
        """A command to the emulator; returns when it has been obeyed."""
        if not self._monitor:
            self._monitor = socket.socket(socket.AF_UNIX)
            self._monitor.connect(str(self._path))
            self._answer()
        self._monitor.sendall(f'{command}\n'.encode())
        self._answer()

    def _answer(self):
        heard = b''
        while not heard.endswith(b'(qemu) '):
            piece = self._monitor.recv(65536)
            if not piece:
                raise LabError('the emulator has ended')
            heard += piece

    def functions(self, send, last):
        """Of the packet that send() has the machine deal with: the number of
        instructions in each function from FIRST to `last`, by the order in
        which they are first entered."""
        self._say('log exec,nochain')
        send()
        self._say('log none')
        with open(self._log, 'rb') as file:
            file.seek(self._seen)
            trace = file.read()
        self._seen += len(trace)
        pcs = [int(pc, 16) - int(base, 16) for base, pc in TRACE.findall(trace)]
        names = [self._symbols[max(0, bisect.bisect_right(self._starts, pc) - 1)] for pc in pcs]
        entries = [(i, name) for i, (pc, (start, name)) in enumerate(zip(pcs, names)) if pc == start]
        begin = next((i for i, name in entries if name == FIRST), None)
        end = next((i for i, name in entries if name == last and begin is not None and i > begin), None)
        if end is None:
            raise LabError(f'no packet came from {FIRST} to {last}')
        return collections.Counter(name for _, name in names[begin:end])
