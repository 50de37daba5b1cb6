# SPDX-License-Identifier: GPL-2.0-only
"""Keeps a network namespace, as a process of its own.

Standard input is a Unix socket. First a tap, `eth0` of the new namespace, is
sent through it; then a socket made in the namespace for each `family type`
asked for. The end of input ends the process and so the namespace: nothing is
left behind, whatever becomes of the lab.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 0x0002, 0x1000

lab = socket.socket(fileno=0)
libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.geteuid(), os.getegid()
try:
    # Who is not root becomes root of a user namespace, where one may.
    if libc.unshare(CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)):
        raise OSError(ctypes.get_errno(), 'unshare')
    if uid:
        for name, text in (('setgroups', 'deny'), ('uid_map', f'0 {uid} 1'), ('gid_map', f'0 {gid} 1')):
            with open(f'/proc/self/{name}', 'w') as file:
                file.write(text)
    # No TUNSETOFFLOAD and no vnet header: the kernel completes each checksum
    # and cuts each segment to size before we see it.
    tap = os.open('/dev/net/tun', os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack('16sH22x', b'eth0', IFF_TAP | IFF_NO_PI))
except OSError as error:
    sys.exit(f'no network namespace with a tap here: {error}')
socket.send_fds(lab, [b'tap'], [tap])
os.close(tap)
while request := lab.recv(64):
    family, kind = map(int, request.split())
    with socket.socket(family, kind) as made:
        socket.send_fds(lab, [b'socket'], [made.fileno()])
