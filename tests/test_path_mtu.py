# SPDX-License-Identifier: GPL-2.0-only
"""Path MTU discovery works through a forwarded port: this machine's own TCP,
which never lets its packets be cut, gets through a link of 576 bytes anywhere
on the way."""

import contextlib
import hashlib
import random
import socket
import threading

import pytest

import lab
from lab import ICMP, IP, TCP, UDP
from lab.network import MASQUERADING

NARROW, WIDE = 576, 1500
SIZE = 200_000
SERVER = '10.1.0.2'
OUTER, INNER = '194.160.1.2', '10.0.0.9'        # the routers
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
RULES = f'''\
/usr/local/sbin/ipportfw -A -t{lab.OUTSIDE}/8080 -R {SERVER}/80
/usr/local/sbin/ipportfw -A -u{lab.OUTSIDE}/525 -R {SERVER}/5250
'''


@pytest.fixture(scope='module')
def net(namespaces):
    """The client, a router, the gateway, another router, the server."""
    with lab.Lab(lab.kernel()) as net:
        net.wires = [net.wire(name) for name in ('far', 'outside', 'inside', 'near')]
        far, outside, inside, near = net.wires
        net.client = net.host('client', far, f'{lab.CLIENT}/24', via='163.158.1.1')
        net.outer = net.machine('outer', [(outside, f'{OUTER}/24'), (far, '163.158.1.1/24')])
        net.gateway = net.machine('gateway', [(inside, f'{lab.INSIDE}/24'), (outside, f'{lab.OUTSIDE}/24')],
                                  via=OUTER, rc=f'/sbin/route add -net 10.1.0.0 netmask 255.255.255.0 gw {INNER}\n'
                                  + MASQUERADING + RULES)
        net.inner = net.machine('inner', [(inside, f'{INNER}/24'), (near, '10.1.0.1/24')], via=lab.INSIDE)
        net.server = net.host('server', near, f'{SERVER}/24', via='10.1.0.1')
        net.listener = net.server.socket()
        net.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        net.listener.bind(('', 80))
        net.listener.listen()
        net.listener.settimeout(60)
        yield net.boot()
        net.listener.close()


@contextlib.contextmanager
def narrow(net, machine, interface):
    """What goes out there must be small. Nobody knows it yet."""
    for host in net.client, net.server:
        host.run(['ip', 'route', 'flush', 'cache'])
    machine.sh(f'ifconfig {interface} mtu {NARROW}')
    try:
        yield
    finally:
        machine.sh(f'ifconfig {interface} mtu {WIDE}')


def transfer(net, download):
    """A connection of the client, much data, and its orderly end. Returns the
    sums of what was sent and of what came."""
    data = random.Random(download).randbytes(SIZE)
    with net.client.socket() as client:
        client.settimeout(60)
        client.connect((lab.OUTSIDE, 8080))
        server, (address, _) = net.listener.accept()
        assert address == lab.CLIENT
        with server:
            server.settimeout(60)
            source, sink = (server, client) if download else (client, server)

            def send():
                source.sendall(data)
                source.shutdown(socket.SHUT_WR)

            thread = threading.Thread(target=send)
            thread.start()
            came = hashlib.sha256()
            while piece := sink.recv(65536):
                came.update(piece)
            thread.join()
    return hashlib.sha256(data).digest(), came.digest()


@contextlib.contextmanager
def watched(net):
    """The frames of each wire, by its name."""
    with contextlib.ExitStack() as stack:
        yield {wire.name: stack.enter_context(wire.capture()) for wire in net.wires}


WAYS = {        # whose interface is narrow; whether the server sends; the wire behind it
    'outer router': ('outer', 'eth1', True, 'far'),
    'gateway outside': ('gateway', 'eth1', True, 'outside'),
    'gateway inside': ('gateway', 'eth0', False, 'inside'),
    'inner router': ('inner', 'eth1', False, 'near'),
}


@pytest.mark.parametrize('name, interface, download, behind', WAYS.values(), ids=WAYS)
def test_a_bulk_transfer_completes(net, name, interface, download, behind):
    with narrow(net, getattr(net, name), interface), watched(net) as seen:
        sent, came = transfer(net, download)
    assert sent == came
    origin, source, end, target = (('near', SERVER, 'far', lab.CLIENT) if download else
                                   ('far', lab.CLIENT, 'near', SERVER))
    # The sender began with large packets, which were not to be cut, …
    packets = seen[origin].only(TCP, src=source)
    sizes = [p[IP].len for p in packets]
    assert max(sizes) == WIDE and all(p[IP].flags.DF for p in packets)
    # … was told, about what it had sent and by a host that it knows of, …
    told = seen[origin].only(ICMP, type=3, code=4)
    assert told and {p[IP].dst for p in told} == {source}
    for packet in told:
        lab.check_sums(packet)
        assert packet[ICMP].nexthopmtu == NARROW
        quoted = IP(bytes(packet[ICMP])[8:])
        assert (quoted.src, quoted.dst) == (source, lab.CLIENT if download else lab.OUTSIDE)
        ports = quoted[TCP].sport, quoted[TCP].dport
        assert (ports[0] == 80) if download else (ports[1] == 8080)
        assert download or packet[IP].src == lab.OUTSIDE
    # … and sent small ones, of which each came, uncut.
    through = seen[behind].only(TCP, src=lab.OUTSIDE if behind in ('far', 'outside') else source)
    assert max(p[IP].len for p in through) == NARROW
    assert not any(p[IP].frag or p[IP].flags.MF for wire in seen.values() for p in wire.only(IP))
    assert sum(len(p[TCP].payload) for p in seen[end].only(TCP, dst=target)) >= SIZE
    for packet in seen['far'].only(IP) + seen['outside'].only(IP):
        assert not packet[IP].src.startswith('10.') and not packet[IP].dst.startswith('10.'), packet.show(dump=True)


@pytest.mark.parametrize('name, interface', [('inner', 'eth1'), ('gateway', 'eth0')])
def test_a_client_of_udp_learns_the_path_mtu(net, name, interface):
    with narrow(net, getattr(net, name), interface), net.client.socket(socket.SOCK_DGRAM) as client, \
            net.server.socket(socket.SOCK_DGRAM) as server:
        server.bind(('', 5250))
        server.settimeout(60)
        client.settimeout(60)
        client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        client.connect((lab.OUTSIDE, 525))
        client.send(b'small')
        assert server.recv(9) == b'small'
        assert client.getsockopt(socket.IPPROTO_IP, IP_MTU) == WIDE
        client.send(bytes(1400))
        lab.loop.wait(lambda: client.getsockopt(socket.IPPROTO_IP, IP_MTU) == NARROW, 30, 'the path MTU', poll=0.02)
        with contextlib.suppress(OSError):      # the error that came in between
            client.send(bytes(NARROW - 28))
        client.send(bytes(NARROW - 28))
        assert server.recv(2000) == bytes(NARROW - 28)
