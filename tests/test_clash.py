# SPDX-License-Identifier: GPL-2.0-only
"""Connections that would look the same inside: one client port that asks two
forwarded ports which lead to one port of one host. Whoever comes second is told
at once, and nobody ever gets the other's bytes."""

import socket

import pytest

import lab
from dialogue import Dialogue
from lab import ICMP, IP, TCP, UDP
from lab.network import MASQUERADING

RULES = MASQUERADING + '''\
ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80
ipportfw -A -t194.160.1.1/8080 -R 10.0.0.2/80
ipportfw -A -u194.160.1.1/525 -R 10.0.0.2/525
ipportfw -A -u194.160.1.1/526 -R 10.0.0.2/525
ipportfw -A -t194.160.1.1/81 -R 10.0.0.9/80
ipportfw -A -t194.160.1.1/8081 -R 10.0.0.9/80
ipportfw -A -u194.160.1.1/625 -R 10.0.0.9/525
ipportfw -A -u194.160.1.1/626 -R 10.0.0.9/525
'''


@pytest.fixture(scope='module')
def net(namespaces):
    """Real hosts for ports 80 and 8080, 525 and 526; stations for those one or
    a hundred above."""
    with lab.example(server='host', client='host', rc=RULES) as net:
        net.far = net.station(net.outside, '163.158.1.9/24')
        net.near = net.station(net.inside, '10.0.0.9/24', via='10.0.0.1')
        yield net.boot()


def asks(net, sport, port, layer=TCP):
    return Dialogue(net.far, net.near, sport, port, 80 if layer is TCP else 525, layer=layer)


# Frame by frame

def test_the_second_is_refused_and_the_first_goes_on(net):
    first, second = asks(net, 1000, 81).open(), asks(net, 1000, 8081)
    for _ in range(3):
        second.refused('S')
        first.talk()
    second.refused('PA')
    first.talk()
    first.close()


def test_from_its_first_packet_on(net):
    """The older is only half open: its port is not to be had all the same."""
    first, second = asks(net, 1050, 81), asks(net, 1050, 8081)
    first.inward('S')
    second.refused('S')
    first.outward('SA')
    first.inward('A')
    first.talk()
    first.reset()


def test_it_is_refused_whatever_the_gateway_itself_has_there(net):
    server = net.gateway.background('tcpsvd 0.0.0.0 8081 cat')
    try:
        net.gateway.until('netstat -t -a -n | grep -q :8081')
        asks(net, 1100, 81).open()
        asks(net, 1100, 8081).refused('S')
    finally:
        net.gateway.sh(f'kill {server}')


@pytest.mark.parametrize('end', ['close', 'reset'])
def test_the_second_takes_the_place_of_one_that_is_over(net, end):
    first, second = asks(net, 1200, 81).open(), asks(net, 1200, 8081)
    getattr(first, end)()
    second.open().talk()
    asks(net, 1200, 81).refused('S')        # now it is the other way round
    second.talk()
    getattr(second, end)()


def test_half_closed_is_not_over(net):
    first, second = asks(net, 1300, 81).open(), asks(net, 1300, 8081)
    first.inward('FA')
    second.refused('S')
    first.outward('PA', b'the rest of the page')
    first.outward('FA')
    first.inward('A')
    second.open().talk()


def test_a_client_that_has_lost_its_memory_dials_again(net):
    """Its SYN reaches the server, whose answer tells it what to do: so TCP
    itself sets it right."""
    asks(net, 1400, 81).open().talk()
    confused = asks(net, 1400, 81)
    confused.inward('S')
    confused.outward('A')
    confused.inward('R')
    asks(net, 1400, 81).open().talk()


def test_other_clients_and_other_ports_do_not_clash(net):
    one, two, three = asks(net, 1500, 81).open(), asks(net, 1501, 8081).open(), Dialogue(
        net.station(net.outside, '163.158.1.10/24'), net.near, 1500, 8081).open()
    for it in one, two, three:
        it.talk()


def test_the_second_of_udp_is_refused_by_icmp(net):
    first, second = asks(net, 1600, 625, UDP), asks(net, 1600, 626, UDP)
    first.talk()
    for _ in range(2):
        sent = second.send_inward(data=b'me too')
        error = net.far.expect(ICMP, type=3, code=3, src='194.160.1.1')
        lab.check_sums(error)
        quoted = IP(bytes(error[ICMP].payload))
        assert (quoted.src, quoted.dst, quoted[UDP].sport, quoted[UDP].dport) == (
            sent.src, '194.160.1.1', 1600, 626)
        second.nothing_inward()
        first.talk()


def test_the_second_of_udp_has_its_turn_when_the_first_is_forgotten(net):
    net.gateway.sh('ipfwadm -M -s 0 0 1')
    first, second = asks(net, 1700, 625, UDP), asks(net, 1700, 626, UDP)
    first.talk()
    net.gateway.until("! netstat -M -n | grep -q -- '-> 1700 '")
    second.talk()
    net.gateway.sh('ipfwadm -M -s 0 0 300')


# The host inside dials by itself

def masqueraded(net, client_port, flags='S', seq=1):
    """The host inside sends from the forwarded port; returns masquerading's."""
    net.near.send(IP(dst=net.far.ip) / TCP(sport=80, dport=client_port, flags=flags, seq=seq, ack=2))
    got = net.far.expect(TCP, src='194.160.1.1', dport=client_port, seq=seq)
    lab.check_sums(got)
    assert 61000 <= got.sport < 65096
    return got.sport


def answered(net, client_port, mport, flags='SA', seq=9):
    net.far.send(IP(dst='194.160.1.1') / TCP(sport=client_port, dport=mport, flags=flags, seq=seq, ack=2))
    net.near.expect(TCP, src=net.far.ip, sport=client_port, dport=80, seq=seq)


def test_the_host_inside_dials_from_the_forwarded_port(net):
    """It is masqueraded like anybody who dials; the client's way in is refused
    as long as the two could not be told apart."""
    mport = masqueraded(net, 2000)
    answered(net, 2000, mport)
    assert masqueraded(net, 2000, 'A', 2) == mport
    asks(net, 2000, 81).refused('S')
    asks(net, 2001, 81).open().talk()
    answered(net, 2000, mport, 'PA', 10)
    assert masqueraded(net, 2000, 'PA', 2) == mport


def test_the_host_inside_dials_over_an_old_connection(net):
    """Which it has forgotten, then. What the client still sends on that one is
    refused, and changes nothing of the new one."""
    old = asks(net, 2100, 81).open()
    old.talk()
    mport = masqueraded(net, 2100, seq=77)
    answered(net, 2100, mport)
    assert old.expires(net.gateway) is None
    old.refused('PA')
    assert masqueraded(net, 2100, 'A', 78) == mport
    answered(net, 2100, mport, 'PA', 10)


# Between real hosts

@pytest.fixture
def listener(net):
    with net.server.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.settimeout(30)
        listener.bind(('', 80))
        listener.listen()
        yield listener


def bound(host, port, kind=socket.SOCK_STREAM):
    sock = host.socket(kind)
    sock.settimeout(30)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(('', port))
    return sock


def test_real_sockets_on_one_port(net, listener):
    with bound(net.client, 7000) as first, bound(net.client, 7000) as second, bound(net.client, 7000) as third:
        first.connect(('194.160.1.1', 80))
        far, peer = listener.accept()
        assert peer == ('163.158.1.2', 7000)
        with pytest.raises(ConnectionRefusedError):
            second.connect(('194.160.1.1', 8080))
        first.sendall(b'first')
        assert far.recv(100) == b'first'
        first.shutdown(socket.SHUT_WR)
        assert far.recv(100) == b''
        far.close()
        assert first.recv(100) == b''
        third.connect(('194.160.1.1', 8080))
        far, peer = listener.accept()
        assert peer == ('163.158.1.2', 7000)
        far.sendall(b'third')
        assert third.recv(100) == b'third'
        far.close()


def test_real_udp_sockets_on_one_port(net):
    with bound(net.client, 7100, socket.SOCK_DGRAM) as first, bound(net.client, 7100, socket.SOCK_DGRAM) as second, \
            bound(net.server, 525, socket.SOCK_DGRAM) as far:
        first.connect(('194.160.1.1', 525))
        second.connect(('194.160.1.1', 526))
        first.send(b'first')
        assert far.recvfrom(100) == (b'first', ('163.158.1.2', 7100))
        second.send(b'second')
        with pytest.raises(ConnectionRefusedError):
            second.recv(100)
        far.sendto(b'answer', ('163.158.1.2', 7100))
        assert first.recv(100) == b'answer'


def test_a_real_server_dials_from_its_own_port(net):
    with bound(net.client, 7200) as waiting, bound(net.server, 80) as dialling:
        waiting.listen()
        dialling.connect(('163.158.1.2', 7200))
        far, (address, port) = waiting.accept()
        assert address == '194.160.1.1' and 61000 <= port < 65096
        dialling.sendall(b'it is me')
        assert far.recv(100) == b'it is me'
        far.sendall(b'hello')
        assert dialling.recv(100) == b'hello'
        far.close()
