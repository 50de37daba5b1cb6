# SPDX-License-Identifier: GPL-2.0-only
"""make run: the example's network, and a person at the gateway."""

import os
import socket
import subprocess
import sys

import lab
from lab.host import MORTAL
from lab.machine import QEMU
from lab.wire import Port

PORT = int(os.environ.get('PORT', '8080'))
PAGE = '<h1>Hello from 10.0.0.2</h1>\n'
HINT = '''
You are on the gateway: Linux {version}, 194.160.1.1 outside and 10.0.0.1 inside.
A web server is on 10.0.0.2 inside. From another terminal of your own machine:

    curl http://127.0.0.1:{port}/        goes to 194.160.1.1/80, as from 163.158.1.3

Here, try:  ipportfw -L        netstat -M -n        ipportfw -h
            ipportfw -D -t194.160.1.1/80      (and curl again)

Ctrl-A x ends it all.
'''


def door(wire, port):
    """Let programs of this machine reach 194.160.1.1/80 by a port of 127.0.0.1,
    without being root: QEMU's user networking, on the wire as 163.158.1.3."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with theirs:
        process = subprocess.Popen([
            *MORTAL, QEMU, '-M', 'none', '-nodefaults', '-display', 'none',
            '-netdev', f'user,id=user,net=163.158.1.0/24,host=163.158.1.3,hostfwd=tcp:127.0.0.1:{port}-194.160.1.1:80',
            '-netdev', f'dgram,id=wire,local.type=fd,local.str={theirs.fileno()}',
            '-netdev', 'hubport,id=a,hubid=0,netdev=user', '-netdev', 'hubport,id=b,hubid=0,netdev=wire',
        ], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    Port(wire, '52:55:a3:9e:01:03', ours.detach())
    return process


def main(version):
    kernel = lab.kernel(version)
    with lab.example(kernel, person='stdio',
                     server_rc='httpd -f -vv -h /www >/tmp/httpd.log 2>&1 &\n',
                     server_files={'/www/index.html': PAGE}) as net:
        way_in = door(net.outside, PORT)
        try:
            net.boot()
            if way_in.poll() is not None:
                sys.exit(f'make run: port {PORT} of 127.0.0.1 is taken; choose another with PORT=')
            print(HINT.format(version=version, port=PORT), flush=True)
            net.gateway.wait_end()
        finally:
            way_in.kill()
            way_in.wait()


main(*sys.argv[1:])
