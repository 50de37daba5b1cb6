# SPDX-License-Identifier: GPL-2.0-only
"""The gateway's own connections: a rule takes over a port, but nothing that the
gateway itself already has there, and gives the port back."""

import contextlib
import socket

import pytest

import lab
from dialogue import says
from lab import IP, TCP
from lab.network import MASQUERADING

INSIDE_HOST = '10.0.0.2'


@pytest.fixture(scope='module')
def net(namespaces):
    with lab.example(server='host', client='host', rc=MASQUERADING) as net:
        net.far = net.station(net.outside, '163.158.1.9/24')
        net.near = net.station(net.inside, '10.0.0.9/24', via='10.0.0.1')
        yield net.boot()


@pytest.fixture(autouse=True)
def no_rules(net):
    yield
    net.gateway.sh('ipportfw -C')


@contextlib.contextmanager
def running(net, port, command):
    """A program of the gateway that has a port."""
    pid = net.gateway.background(command)
    net.gateway.until(f'netstat -a -n | grep -q ":{port} "')
    try:
        yield
    finally:
        net.gateway.sh(f'kill {pid}', check=False)
        net.gateway.until(f'! test -d /proc/{pid}')


def server_on(net, port, program='cat'):
    return running(net, port, f'tcpsvd 0.0.0.0 {port} {program}')


def bound(host, port=0, kind=socket.SOCK_STREAM):
    sock = host.socket(kind)
    sock.settimeout(30)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(('', port))
    if kind == socket.SOCK_STREAM and port:
        sock.listen()
    return sock


def dial(net, port):
    sock = bound(net.client)
    sock.connect(('194.160.1.1', port))
    return sock


def echoes(sock, words):
    """The gateway's cat is at the other end."""
    says(sock, words, sock)


def reaches(net, port, listener):
    """A new connection to the port comes to the host inside."""
    with dial(net, port) as new:
        far, peer = listener.accept()
        with far:
            assert peer[0] == '163.158.1.2'
            far.sendall(b'from inside')
            assert new.recv(100) == b'from inside'


@pytest.mark.parametrize('local, port', [('194.160.1.1', 2320), ('0.0.0.0', 2321)])
def test_an_administrators_session_goes_on(net, local, port):
    with server_on(net, port), bound(net.server, port) as listener, dial(net, port) as session:
        echoes(session, b'before')
        net.gateway.sh(f'ipportfw -A -t{local}/{port} -R {INSIDE_HOST}/{port}')
        for turn in range(5):
            echoes(session, b'still here, %d' % turn)
        reaches(net, port, listener)
        echoes(session, b'still here')
        session.shutdown(socket.SHUT_WR)
        assert session.recv(1) == b''       # to its orderly end


def test_a_session_that_says_little_goes_on(net):
    """Its packets look like the middle of a forwarded one; keepalives, too."""
    with server_on(net, 2323), dial(net, 2323) as session:
        net.gateway.sh(f'ipportfw -A -t194.160.1.1/2323 -R {INSIDE_HOST}/2323')
        session.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        session.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        session.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        with net.outside.capture() as frames:
            for _ in range(2):
                frames.expect(TCP, src='194.160.1.1', sport=2323, flags='A')
        assert ' 2323 ' not in net.gateway.sh('netstat -M -n').out
        echoes(session, b'at last')


def send(net, **fields):
    net.far.send(IP(dst='194.160.1.1') / TCP(**fields))


def answer(net, sport, dport, flags):
    return net.far.expect(TCP, src='194.160.1.1', sport=sport, dport=dport, where=lambda p: p[TCP].flags == flags)


def test_a_session_that_is_just_beginning_goes_on(net):
    with server_on(net, 2324):
        send(net, sport=5000, dport=2324, flags='S', seq=100)
        seq = answer(net, 2324, 5000, 'SA').seq
        net.gateway.sh('ipportfw -A -t194.160.1.1/2324 -R 10.0.0.9/2324')
        send(net, sport=5000, dport=2324, flags='S', seq=100)        # once more
        send(net, sport=5000, dport=2324, flags='A', seq=101, ack=seq + 1)
        net.far.send(IP(dst='194.160.1.1') / TCP(
            sport=5000, dport=2324, flags='PA', seq=101, ack=seq + 1) / b'hello')
        net.far.expect(TCP, src='194.160.1.1', sport=2324, dport=5000,
                       where=lambda p: b'hello' in bytes(p[TCP].payload))
        net.near.expect_nothing('10.0.0.1', TCP, dport=2324)
        send(net, sport=5000, dport=2324, flags='R', seq=106)


def test_a_session_that_is_over_is_finished_and_a_new_one_is_forwarded(net):
    """Its FIN is acknowledged as often as it comes; a SYN with its ports is
    nobody's but the rule's."""
    with server_on(net, 2325, 'echo bye'):
        send(net, sport=5001, dport=2325, flags='S', seq=100)
        seq = answer(net, 2325, 5001, 'SA').seq
        send(net, sport=5001, dport=2325, flags='A', seq=101, ack=seq + 1)
        last = net.far.expect(TCP, sport=2325, dport=5001, where=lambda p: 'F' in p[TCP].flags)
        end = last.seq + last[IP].len - 40 + 1
        fin = dict(sport=5001, dport=2325, flags='FA', seq=101, ack=end)
        send(net, **fin)
        net.far.expect(TCP, sport=2325, dport=5001, ack=102)
        net.gateway.until('netstat -a -n | grep -q "194.160.1.1:2325 .*TIME_WAIT"')
        net.gateway.sh('ipportfw -A -t194.160.1.1/2325 -R 10.0.0.9/2325')
        send(net, **fin)
        net.far.expect(TCP, sport=2325, dport=5001, ack=102)
        net.near.expect_nothing('10.0.0.1', TCP, dport=2325)
        send(net, sport=5001, dport=2325, flags='S', seq=900_000)
        net.near.expect(TCP, src='163.158.1.9', sport=5001, dport=2325, flags='S')
        net.near.send(IP(dst='163.158.1.9') / TCP(sport=2325, dport=5001, flags='SA', seq=7, ack=900_001))
        answer(net, 2325, 5001, 'SA')


@pytest.mark.parametrize('rule', ['before', 'after'])
def test_the_gateway_dials_from_a_forwarded_port(net, rule):
    add = f'ipportfw -A -t194.160.1.1/7000 -R {INSIDE_HOST}/7000'
    port = 9000 + (rule == 'after')     # the last one may not be quite over
    with bound(net.client, port) as called, bound(net.server, 7000) as listener:
        if rule == 'before':
            net.gateway.sh(add)
        nc = net.gateway.background(f'nc -p 7000 163.158.1.2 {port} -e cat')
        far, peer = called.accept()
        with far:
            far.settimeout(30)
            assert peer == ('194.160.1.1', 7000)
            net.gateway.sh(add)
            for turn in range(5):
                echoes(far, b'is it you? %d' % turn)
            reaches(net, 7000, listener)
            echoes(far, b'is it still you?')
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        net.gateway.until(f'! test -d /proc/{nc}')


def test_connected_udp_is_the_gateways(net):
    """Datagrams of the peer alone, and as long as the gateway's socket lives."""
    net.gateway.sh(f'ipportfw -A -u194.160.1.1/7001 -R {INSIDE_HOST}/7001')
    gateway, server = ('194.160.1.1', 7001), bound(net.server, 7001, socket.SOCK_DGRAM)
    with server, bound(net.client, 9000, socket.SOCK_DGRAM) as peer, \
            bound(net.client, 9001, socket.SOCK_DGRAM) as other:
        with running(net, 7001, 'nc -u -p 7001 163.158.1.2 9000 -e cat'):
            for words in b'one', b'two':
                peer.sendto(words, gateway)
                assert peer.recvfrom(100) == (words, gateway)
            other.sendto(b'other', gateway)
            assert server.recvfrom(100) == (b'other', ('163.158.1.2', 9001))
            server.sendto(b'answer', ('163.158.1.2', 9001))
            assert other.recvfrom(100) == (b'answer', gateway)
            peer.sendto(b'three', gateway)
            assert peer.recvfrom(100) == (b'three', gateway)
        peer.sendto(b'four', gateway)
        assert server.recvfrom(100) == (b'four', ('163.158.1.2', 9000))


def test_a_rule_that_is_removed_gives_the_port_back(net):
    """For new connections; what was forwarded stays so."""
    with server_on(net, 2326), bound(net.server, 2326) as listener:
        net.gateway.sh(f'ipportfw -A -t194.160.1.1/2326 -R {INSIDE_HOST}/2326')
        with dial(net, 2326) as forwarded:
            far, _ = listener.accept()
            net.gateway.sh('ipportfw -D -t194.160.1.1/2326')
            with dial(net, 2326) as own:
                echoes(own, b'the gateway itself')
                far.sendall(b'from inside')
                assert forwarded.recv(100) == b'from inside'
                echoes(own, b'the gateway itself')
            far.close()
            assert forwarded.recv(100) == b''
