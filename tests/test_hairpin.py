# SPDX-License-Identifier: GPL-2.0-only
"""Who stands inside, or is the gateway itself, reaches the forwarded server by
the gateway's outer address, as the world does. The client's network may be the
server's own, or another one inside."""

import contextlib
import socket

import pytest

import lab
from dialogue import Dialogue
from lab import ICMP, IP, TCP, UDP
from lab.network import MASQUERADING

RULES = MASQUERADING + '''\
ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80
ipportfw -A -u194.160.1.1/525 -R 10.0.0.2/525
ipportfw -A -t194.160.1.1/8000 -R 10.0.0.9/80
ipportfw -A -u194.160.1.1/5250 -R 10.0.0.9/525
ipportfw -A -t0.0.0.0/8001 -R 10.0.0.9/80
ipportfw -A -t10.0.0.1/8002 -R 10.0.0.9/80
'''


@pytest.fixture(scope='module')
def net(namespaces):
    """A gateway with a second network inside. 10.0.0.2 is a real server and
    10.0.0.9 one that the test speaks for; clients are everywhere."""
    with lab.Lab() as net:
        net.inside, net.annex, net.outside = net.wire('inside'), net.wire('annex'), net.wire('outside')
        net.gateway = net.machine('gateway', [
            (net.inside, '10.0.0.1/24'), (net.outside, '194.160.1.1/24'), (net.annex, '10.1.0.1/24')],
            on_link=[('163.158.1.0/24', 'eth1')], rc=RULES)
        net.server = net.host('server', net.inside, '10.0.0.2/24', via='10.0.0.1')
        net.host_inside = net.host('inside', net.inside, '10.0.0.3/24', via='10.0.0.1')
        net.host_annex = net.host('annex', net.annex, '10.1.0.3/24', via='10.1.0.1')
        net.near = net.station(net.inside, '10.0.0.9/24', via='10.0.0.1')
        net.one = net.station(net.inside, '10.0.0.11/24', via='10.0.0.1')
        net.two = net.station(net.inside, '10.0.0.12/24', via='10.0.0.1')
        net.apart = net.station(net.annex, '10.1.0.11/24', via='10.1.0.1')
        net.far = net.station(net.outside, '163.158.1.9/24')
        net.asked = net.station(net.annex, '10.0.0.20/24')
        net.answers = net.station(net.inside, '10.0.0.20/24', via='10.0.0.1')
        net.beyond = net.station(net.inside, '172.16.0.5/24', via='10.0.0.1')
        yield net.boot()


# Real hosts

WEB_SERVER = '''
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f'hello, {self.client_address[0]}\\n'.encode() + b'x' * int(self.path[1:] or 0))
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(('', 80), Handler).serve_forever()
'''


@pytest.fixture(scope='module')
def web(net):
    net.server.popen(['/usr/bin/python3', '-c', WEB_SERVER])
    net.server.wait_listening(80)


@pytest.mark.parametrize('who, seen', [
    ('host_inside', '10.0.0.1'), ('host_annex', '10.1.0.3'), ('server', '10.0.0.1')])
def test_a_host_inside_fetches_the_page(net, web, who, seen):
    """The server itself, too. In the server's own network the client is known
    as the gateway, or its answers would go astray."""
    with net.inside.capture() as frames:
        page = getattr(net, who).run(['curl', '-sS', '--max-time', '60', 'http://194.160.1.1/1000000']).out
    assert page == f'hello, {seen}\n' + 'x' * 1_000_000
    assert frames.only(ICMP, type=5) == []      # nobody is told of a shorter way


def test_the_gateway_itself_fetches_the_page(net, web):
    page = net.gateway.sh('timeout 30 wget -q -O - http://194.160.1.1/20000').out
    assert page == 'hello, 194.160.1.1\n' + 'x' * 20000
    for _ in range(3):
        assert net.gateway.sh('timeout 30 wget -q -O - http://194.160.1.1/').out == 'hello, 194.160.1.1\n'


@contextlib.contextmanager
def bound(host, port, kind):
    with host.socket(kind) as sock:
        sock.settimeout(30)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(('', port))
        yield sock


def test_two_hosts_inside_use_one_port(net, web):
    """Both have it open at the same time."""
    with bound(net.host_inside, 7000, socket.SOCK_STREAM) as one, bound(net.server, 7000, socket.SOCK_STREAM) as two:
        for sock in one, two:
            sock.connect(('194.160.1.1', 80))
        for sock in one, two:
            sock.sendall(b'GET / HTTP/1.0\r\n\r\n')
            with sock.makefile() as answer:
                assert answer.read().endswith('\n\nhello, 10.0.0.1\n')


def test_udp_between_real_hosts(net):
    gateway = ('194.160.1.1', 525)
    with bound(net.server, 525, socket.SOCK_DGRAM) as server, bound(net.host_inside, 7100, socket.SOCK_DGRAM) as one, \
            bound(net.host_annex, 7100, socket.SOCK_DGRAM) as two:
        for client, seen in (one, ('10.0.0.1', None)), (two, ('10.1.0.3', 7100)):
            for words in b'first', b'second':
                client.sendto(words, gateway)
                got, peer = server.recvfrom(100)
                assert got == words and peer[0] == seen[0] and peer[1] == (seen[1] or peer[1])
                server.sendto(b'answer to ' + words, peer)
                assert client.recvfrom(100) == (b'answer to ' + words, gateway)


def test_udp_of_the_gateway_itself(net):
    net.gateway.put('/tmp/ask', '#!/bin/sh\necho question\nexec head -n 1 >/tmp/answer\n')
    with bound(net.server, 525, socket.SOCK_DGRAM) as server:
        net.gateway.background('sh -c "chmod +x /tmp/ask; exec nc -u -p 7200 194.160.1.1 525 -e /tmp/ask"')
        question, peer = server.recvfrom(100)
        assert (question, peer) == (b'question\n', ('194.160.1.1', 7200))
        server.sendto(b'answer\n', peer)
        net.gateway.until('grep -q answer /tmp/answer')


# Frame by frame

@pytest.mark.parametrize('layer, port, inner', [(TCP, 8000, 80), (UDP, 5250, 525)], ids=['tcp', 'udp'])
def test_in_the_servers_own_network(net, layer, port, inner):
    """The server sees the gateway's inner address and a port of its own, as
    long as the connection lives; the client sees whom it asked."""
    one, two = (Dialogue(client, net.near, 1000, port, inner, seen=('10.0.0.1', None), layer=layer)
                for client in (net.one, net.two))
    for it in one, two:
        if layer is TCP:
            it.open()
        else:
            it.inward(data=b'first')
        assert 32768 <= it.seen[1] <= 60999
    assert one.seen != two.seen
    for _ in range(3):
        for it in one, two:
            it.talk()
    for station in net.one, net.two:
        assert station.inbox.only(ICMP) == []
    if layer is TCP:
        one.close()
        two.reset()


def test_its_ports_come_back(net):
    """A connection that is over gives way to the client's next."""
    seen = set()
    for _ in range(20):
        it = Dialogue(net.one, net.near, 1100, 8000, seen=('10.0.0.1', None)).open()
        it.talk()
        seen.add(it.seen[1])
        it.close()
    assert all(32768 <= port <= 60999 for port in seen)
    listed = net.gateway.sh('netstat -M -n | grep -c " 1100 "', check=False).out
    assert int(listed) <= 1


def test_the_server_dials_itself_by_the_outer_address(net):
    it = Dialogue(net.near, net.near, 1200, 8000, seen=('10.0.0.1', None)).open()
    it.talk()
    it.close()


def test_from_another_network_inside(net):
    """The ordinary way: the client's real address, and answers that the
    forward chain masquerades."""
    it = Dialogue(net.apart, net.near, 1300, 8000).open()
    it.talk()
    net.gateway.sh('ipfwadm -F -f')
    it.lost_outward('PA', b'nobody masquerades this')
    net.gateway.sh('ipfwadm -F -a masquerade -S 10.0.0.0/8 -D 0.0.0.0/0')
    it = Dialogue(net.apart, net.near, 1301, 8000).open()
    it.talk()
    it.close()


def test_all_kinds_of_clients_at_once_with_one_port(net):
    inside = [Dialogue(client, net.near, 1400, 8000, seen=('10.0.0.1', None))
              for client in (net.one, net.two, net.near)]
    others = [Dialogue(client, net.near, 1400, 8000) for client in (net.apart, net.far)]
    for it in inside + others:
        it.open()
    for it in others + inside:
        it.talk()
    for it in inside + others:
        it.reset()


@pytest.mark.parametrize('address, port', [
    ('194.160.1.1', 8001), ('10.0.0.1', 8001), ('10.1.0.1', 8001), ('10.0.0.1', 8002)])
def test_rules_for_any_address_and_for_the_inner_one(net, address, port):
    for client, seen in (net.one, ('10.0.0.1', None)), (net.apart, None):
        it = Dialogue(client, net.near, 1500, port, seen=seen, address=address).open()
        it.talk()
        it.close()


@pytest.mark.parametrize('address, port', [('194.160.1.1', 8000), ('10.0.0.1', 8001), ('10.0.0.1', 8002)])
def test_the_gateway_asks_each_of_its_addresses(net, address, port):
    """Its packets carry the address it asked from."""
    source = 1600 + port % 10
    pid = net.gateway.background(f'nc -p {source} {address} {port} -e cat')
    try:
        syn = net.near.expect(TCP, dport=80, sport=source, flags='S')
        lab.check_sums(syn)
        assert syn[IP].src == address
        net.near.send(IP(dst=address) / TCP(sport=80, dport=source, flags='SA', seq=100, ack=syn.seq + 1))
        net.near.expect(TCP, src=address, sport=source, flags='A', ack=101)
        net.near.send(IP(dst=address) / TCP(sport=80, dport=source, flags='PA', seq=101, ack=syn.seq + 1) / b'echo')
        got = net.near.expect(TCP, src=address, sport=source, where=lambda p: b'echo' in bytes(p[TCP].payload))
        lab.check_sums(got)
        net.near.send(IP(dst=address) / TCP(sport=80, dport=source, flags='R', seq=105))
    finally:
        net.gateway.sh(f'kill {pid}', check=False)


def from_elsewhere(net, packet):
    """The gateway has got it by each wire that is not the server's."""
    for station, gateway in (net.far, '194.160.1.1'), (net.apart, '10.1.0.1'):
        station.send(packet, to=gateway)
        station.ping(gateway)


def test_nobody_may_say_he_is_the_server_or_the_gateway(net):
    """From a wire on which they are not."""
    for number, src in enumerate(['10.0.0.9', '194.160.1.1', '10.0.0.1', '127.0.0.1']):
        from_elsewhere(net, IP(src=src, dst='194.160.1.1') / TCP(sport=1700 + number, dport=8000, flags='S'))
    net.near.expect_nothing('10.0.0.1', TCP, flags='S')


def test_nobody_outside_answers_for_the_server(net):
    it = Dialogue(net.one, net.near, 1800, 8000, seen=('10.0.0.1', None)).open()
    it.talk()
    from_elsewhere(net, IP(src='10.0.0.9', dst='10.0.0.1') / TCP(sport=80, dport=it.seen[1], flags='R'))
    net.one.expect_nothing('10.0.0.1', TCP, sport=8000)
    it.talk()
    it.close()


def test_answers_come_by_another_interface_with_the_same_address(net):
    """As with those that only send, shaper's and eql's."""
    net.gateway.sh('ifconfig eth2 10.0.0.1 netmask 255.255.255.0 broadcast 10.0.0.255; '
                   'route add -host 10.0.0.20 dev eth2; ipportfw -A -t194.160.1.1/8101 -R 10.0.0.20/80')
    net.one.send(IP(dst='194.160.1.1') / TCP(sport=1850, dport=8101, flags='S', seq=1))
    syn = net.asked.expect(TCP, src='10.0.0.1', dport=80, flags='S')
    net.answers.send(IP(dst='10.0.0.1') / TCP(sport=80, dport=syn.sport, flags='SA', seq=9, ack=2))
    lab.check_sums(net.one.expect(TCP, src='194.160.1.1', sport=8101, dport=1850, flags='SA'))
    net.gateway.sh('ipportfw -D -t194.160.1.1/8101; route del -host 10.0.0.20; '
                   'ifconfig eth2 10.1.0.1 netmask 255.255.255.0 broadcast 10.1.0.255')


@pytest.mark.parametrize('who, ports', [('near', (1900, 1901)), ('beyond', (1902, 1903))])
def test_the_server_asks_itself_by_an_alias_on_its_own_wire(net, who, ports):
    """It may be of another network than the interface."""
    server = getattr(net, who)
    net.gateway.sh('ifconfig eth0:0 192.0.2.1 netmask 255.255.255.0 broadcast 192.0.2.255; '
                   'route add -host 192.0.2.1 dev eth0:0; route add -host 172.16.0.5 dev eth0; '
                   f'ipportfw -A -t192.0.2.1/8100 -R {server.ip}/80')
    for client, sport in zip((net.one, server), ports):
        client.send(IP(dst='192.0.2.1') / TCP(sport=sport, dport=8100, flags='S', seq=1))
        syn = server.expect(TCP, src='10.0.0.1', dport=80, flags='S')
        server.send(IP(dst='10.0.0.1') / TCP(sport=80, dport=syn.sport, flags='SA', seq=9, ack=2))
        lab.check_sums(client.expect(TCP, src='192.0.2.1', sport=8100, dport=sport, flags='SA'))
    net.gateway.sh('ipportfw -D -t192.0.2.1/8100; ifconfig eth0:0 down; route del -host 172.16.0.5')
