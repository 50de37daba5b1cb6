# SPDX-License-Identifier: GPL-2.0-only
"""Machines: a 2.0 kernel and its user land in QEMU."""

import contextlib
import pathlib
import re
import shlex
import shutil
import socket
import string
import subprocess
import tempfile
import threading

from .host import MORTAL
from .loop import Late, LabError, loop
from .result import Result
from .wire import Port

QEMU = 'qemu-system-i386'
# All faults of 2.0's kernel end in a dump of the registers.
FATAL = re.compile(rb'Kernel panic|Oops|general protection|Unable to handle kernel|EIP: +[0-9a-f]{4}:')
READY = b'\x01READY\n'
# Cards side by side would share an interrupt line, which 2.0's pcnet driver
# does not do everywhere.
SLOTS = {0: [], 1: [4], 2: [4, 6], 3: [4, 5, 6], 4: [4, 5, 6, 7]}
# 2.0 takes 512 bytes a clock tick from a serial line; QEMU gives them all at
# once. So a command goes in a short line, or by way of a file.
LINE = 400
PLAIN = frozenset(f'{string.ascii_letters}{string.digits} \n./-_=+,:;$()<>|&"#'.encode())
# What the guest's shell sources to run command $2 as number $1.
RUN = r'''(eval "$2") </dev/null >/tmp/.out$1 2>/tmp/.err$1
printf '\001%d %d %d %d\n' $1 $? $(wc -c </tmp/.out$1) $(wc -c </tmp/.err$1)
cat /tmp/.out$1 /tmp/.err$1
rm -f /tmp/.out$1 /tmp/.err$1
'''


class Panic(LabError):
    """A machine is no more."""

    def __init__(self, machine):
        self.machine = machine
        super().__init__(f'{machine.name}: {machine.dead}\n{machine.console()}')


class _Line:
    """One end of a character device of QEMU, and what came out of it."""

    def __init__(self, on_data, on_end):
        self.ours, self.theirs = socket.socketpair()
        self.data = bytearray()
        self._on_data, self._on_end = on_data, on_end
        self.ours.setblocking(False)
        loop.add(self.ours.fileno(), self._ready)

    def _ready(self, events):
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while piece := self.ours.recv(65536):
                self.data += piece
                self._on_data()
                loop.news()
            loop.remove(self.ours.fileno())
            self._on_end()
            loop.news()

    def send(self, data):
        # A line at a time, far less than the socket holds. If QEMU has ended,
        # the wait that follows will say so.
        with contextlib.suppress(ConnectionError):
            self.ours.sendall(data)

    def close(self):
        with loop.lock:
            loop.remove(self.ours.fileno())
            self.ours.close()


class Machine:
    """A guest. `nics` are (wire, mac) in the order of eth0, eth1 …; `files`
    lie over the user land of `guest`; /etc/rc is the boot script. `person`
    has the second serial line: 'stdio', or the path of a Unix socket. The root
    file system has `free` KB to spare and lies in memory, or on an IDE disk: then
    it boots a zImage, which asks for less memory."""

    def __init__(self, name, kernel, guest, nics=(), files=None, memory=16, cmdline='', nic='pcnet',
                 cpu='pentium', icount=False, person=None, free=2048, disk=False, qemu=()):
        self.name, self.nics = name, list(nics)
        self.kernel, self.guest = pathlib.Path(kernel), pathlib.Path(guest)
        self.files = dict(files or {})
        self.memory, self.cmdline, self.nic, self.cpu = memory, cmdline, nic, cpu
        self.icount, self.person, self.free, self.disk, self.qemu = icount, person, free, disk, list(qemu)
        self.dead = None                # why it is no more, once it is
        self._process = None
        self._console = self._control = None
        self._ports = []
        self._commands = 0
        self._one_at_a_time = threading.Lock()

    # Its life

    def start(self):
        """Switch it on. `ready` waits until it has booted."""
        self.dead, self._watched = None, 0
        self._console = _Line(self._watch, self._ended)
        self._control = _Line(lambda: None, lambda: None)
        cards, theirs = [], [self._console.theirs, self._control.theirs]
        for index, (wire, mac) in enumerate(self.nics):
            # A connected pair: one frame a message, and nothing lost in it.
            ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            theirs.append(other)
            self._ports.append(Port(wire, mac, ours.detach()))
            cards += ['-netdev', f'dgram,id=n{index},local.type=fd,local.str={other.fileno()}',
                      '-device', f'{self.nic},netdev=n{index},mac={mac},addr={SLOTS[len(self.nics)][index]:#x}']
        with tempfile.TemporaryDirectory(prefix='ipportfw-lab-') as scratch:
            image = self._image(pathlib.Path(scratch))
            size = image.stat().st_size // 1024
            # Without `ether` 2.0 stops looking after the first card.
            words = [*(['root=/dev/hda'] if self.disk else ['root=/dev/ram', f'ramdisk_size={size}']),
                     f'host={self.name}',
                     *(f'ether=0,0,eth{index}' for index in range(1, len(self.nics))), self.cmdline]
            with open(image, 'r+b') as file:
                root = f'/proc/self/fd/{file.fileno()}'
                self._process = subprocess.Popen([
                    *MORTAL, QEMU, '-M', 'pc', '-accel', 'tcg', '-cpu', self.cpu, '-m', str(self.memory),
                    '-nodefaults', '-no-reboot', '-display', 'none', '-vga', 'std',
                    *(['-icount', 'shift=0'] if self.icount else []),
                    *(['-kernel', self.kernel / 'zImage', '-drive', f'file={root},format=raw,if=ide'] if self.disk
                      else ['-kernel', self.kernel / 'bzImage', '-initrd', root]),
                    '-append', ' '.join(words).strip(),
                    '-chardev', f'socket,id=console,fd={self._console.theirs.fileno()}',
                    '-device', 'isa-debugcon,iobase=0xe9,chardev=console',
                    '-chardev', f'socket,id=control,fd={self._control.theirs.fileno()}',
                    '-serial', 'chardev:control', *self._person(), *cards, *self.qemu,
                ], pass_fds=[file.fileno(), *(end.fileno() for end in theirs)],
                    stdin=None if self.person == 'stdio' else subprocess.DEVNULL)
        for end in theirs:
            end.close()

    def _person(self):
        if self.person is None:
            return []
        if self.person == 'stdio':
            # Ctrl-C is the guest's; Ctrl-A x ends QEMU.
            return ['-chardev', 'stdio,id=person,mux=on,signal=off', '-serial', 'chardev:person',
                    '-mon', 'chardev=person']
        return ['-chardev', f'socket,id=person,path={self.person},server=on,wait=off', '-serial', 'chardev:person']

    def _image(self, scratch):
        """The root file system: the guest's user land and our files over it."""
        root, image = scratch / 'root', scratch / 'image'
        shutil.copytree(self.guest / 'root', root, symlinks=True)
        for path, content in {'/etc/lab': RUN, **self.files}.items():
            target = root / path.lstrip('/')
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
            target.chmod(0o755)
        used = sum(1 + p.lstat().st_size // 1024 for p in root.rglob('*'))
        subprocess.run(['mke2fs', '-q', '-F', '-r', '0', '-b', '1024', '-I', '128', '-O', 'none', '-m', '0',
                        '-d', root, image, str(used + used // 20 + self.free)],
                       check=True, stdout=subprocess.DEVNULL)
        return image

    def ready(self, timeout=60):
        """Wait for the end of the boot script. Returns the machine."""
        end = self._wait(lambda: self._control.data.find(READY) + 1, timeout, 'end of the boot script')
        with loop.lock:
            self.boot_output = bytes(self._control.data[:end - 1]).decode(errors='surrogateescape')
            del self._control.data[:end - 1 + len(READY)]
        return self

    def boot(self, timeout=60):
        self.start()
        return self.ready(timeout)

    def stop(self):
        """Pull the plug."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        for end in (self._console, self._control, *self._ports):
            if end:
                end.close()
        self._ports = []
        loop.broken.pop(self, None)

    def wait_end(self):
        """Wait until the person at its second line ends it."""
        status = self._process.wait()
        self.stop()
        return status

    @property
    def pid(self):
        return self._process.pid

    # Its console

    def console(self):
        """All that the kernel has said."""
        return self._console.data.decode(errors='replace')

    def _watch(self):
        data = self._console.data
        if self.dead is None and FATAL.search(data, self._watched):
            self._die('the kernel has failed')
        self._watched = max(0, len(data) - 100)

    def _ended(self):
        if self.dead is None:
            self._die('QEMU has ended')

    def _die(self, why):
        self.dead = why
        loop.broken[self] = self._panic

    def _panic(self):
        # The kernel may still be writing its last words.
        data, size = self._console.data, 0
        while loop.lock.wait_for(lambda: len(data) > size, 0.2):
            size = len(data)
        return Panic(self)

    # Its control line

    def _wait(self, ready, timeout, what):
        try:
            return loop.wait(ready, timeout, f'{self.name}: {what}')
        except Late as late:
            raise Late(f'{late}; its control line has {bytes(self._control.data[-500:])!r}; '
                       f'its console:\n{self.console()[-3000:]}') from None

    def sh(self, command, timeout=60, check=True):
        """Run a shell command in the guest, in a shell of its own, and return
        its Result: status, out and err, byte for byte."""
        with self._one_at_a_time:
            return self._sh(command, timeout, check)

    def _sh(self, command, timeout, check):
        text = shlex.quote(command)
        if len(text.encode()) > LINE:
            self._put('/tmp/.command', command.encode())
            text = shlex.quote('. /tmp/.command')
        self._commands += 1
        loop.check()
        self._control.send(f'. /etc/lab {self._commands} {text}\n'.encode())
        pattern, data = re.compile(rb'\x01%d (\d+) (\d+) (\d+)\n' % self._commands), self._control.data

        def reply():
            if not (head := pattern.search(data)):
                return None
            status, first, second = map(int, head.groups())
            start, middle, end = head.end(), head.end() + first, head.end() + first + second
            if len(data) < end:
                return None
            result = Result(self.name, command, status, bytes(data[start:middle]), bytes(data[middle:end]))
            del data[:end]
            return result

        result = self._wait(reply, timeout, f'end of `{command[:300]}`')
        return result.checked() if check else result

    def background(self, command, log='/dev/null'):
        """Start a simple command (no shell built-in) as a daemon; returns its
        process number."""
        return int(self.sh(f'(exec {command}) </dev/null >{log} 2>&1 & echo $!').out)

    def until(self, command, timeout=60):
        """Repeat a command until it succeeds, and return that Result."""
        late = loop.deadline(timeout)
        while (result := self.sh(command, check=False)).status:
            if late():
                raise Late(f'{self.name}: success of `{command}`: not within {timeout} s; last: {result}')
        return result

    def put(self, path, content):
        """Write a file in the guest."""
        with self._one_at_a_time:
            self._put(path, content.encode() if isinstance(content, str) else content)

    def _put(self, path, content):
        path = shlex.quote(path)
        self._sh(f': >{path}', 60, True)
        piece = ''
        for byte in content:
            piece += chr(byte) if byte in PLAIN else f'\\{byte:03o}'
            if len(piece) > LINE - 60 - len(path):
                self._sh(f"printf -- '{piece}' >>{path}", 60, True)
                piece = ''
        self._sh(f"printf -- '{piece}' >>{path}", 60, True)

    def get(self, path):
        """A guest's file, as bytes."""
        return self.sh(f'cat {shlex.quote(path)}').out_bytes
