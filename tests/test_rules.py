# SPDX-License-Identifier: GPL-2.0-only
"""Rules come, change and go while connections live."""

import pytest

import lab

# Answers each line with its own name in front.
ECHO = '''
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(sys.argv[1].encode() + b': ' + line)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(('', 80), Handler).serve_forever()
'''
RULE = '-t194.160.1.1/80'


@pytest.fixture(scope='module')
def net(namespaces):
    with lab.example(server='host', client='host') as net:
        net.second = net.host('second', net.inside, '10.0.0.3/24', via='10.0.0.1')
        for host in net.server, net.second:
            host.popen(['/usr/bin/python3', '-c', ECHO, host.name])
            host.wait_listening(80)
        yield net.boot()


@pytest.fixture(autouse=True)
def rule(net):
    net.gateway.sh('ipportfw -C')
    net.gateway.sh(f'ipportfw -A {RULE} -R 10.0.0.2/80')


def dial(net):
    sock = net.client.socket()
    sock.settimeout(60)
    sock.connect(('194.160.1.1', 80))
    return sock


def talk(sock):
    """Who answers?"""
    sock.sendall(b'hello\n')
    answer = b''
    while not answer.endswith(b'\n'):
        piece = sock.recv(1000)
        assert piece, 'the connection was closed'
        answer += piece
    return answer.split(b':')[0].decode()


@pytest.mark.parametrize('command', [f'ipportfw -D {RULE}', 'ipportfw -C'])
def test_a_rule_is_taken_away_under_a_connection(net, command):
    with dial(net) as old:
        assert talk(old) == 'server'
        net.gateway.sh(command)
        with pytest.raises(ConnectionRefusedError):
            dial(net)
        assert talk(old) == 'server'
        old.shutdown(1)
        assert old.recv(1) == b''       # to its orderly end


def test_a_rule_is_replaced_under_a_connection(net):
    with dial(net) as old:
        assert talk(old) == 'server'
        net.gateway.sh(f'ipportfw -A {RULE} -R 10.0.0.3/80')
        with dial(net) as new:
            assert talk(new) == 'second'
            assert talk(old) == 'server'
            assert talk(new) == 'second'
    assert net.gateway.sh('ipportfw -L').out.splitlines()[1:] == ['TCP 194.160.1.1/80 > 10.0.0.3/80']


def test_a_client_that_reuses_its_port_meets_the_rule_of_now(net):
    def dial_from(port):
        sock = net.client.socket()
        sock.settimeout(60)
        sock.setsockopt(1, 2, 1)        # SO_REUSEADDR
        sock.bind(('', port))
        sock.connect(('194.160.1.1', 80))
        return sock

    with dial_from(7000) as old:
        assert talk(old) == 'server'
        old.setsockopt(1, 13, bytes([1, 0, 0, 0, 0, 0, 0, 0]))      # SO_LINGER: reset
    net.gateway.sh(f'ipportfw -A {RULE} -R 10.0.0.3/80')
    with dial_from(7000) as new:
        assert talk(new) == 'second'


def test_a_rule_that_is_gone_gives_the_port_back(net):
    net.gateway.sh('ipportfw -C')
    net.gateway.sh('mkdir /tmp/www; echo mine >/tmp/www/index.html; httpd -h /tmp/www')
    assert net.client.run(['curl', '-sS', 'http://194.160.1.1/']).out == 'mine\n'
    net.gateway.sh(f'ipportfw -A {RULE} -R 10.0.0.2/80')
    with dial(net) as new:
        assert talk(new) == 'server'
    net.gateway.sh('killall httpd')


def test_the_list_keeps_the_order_of_adding(net):
    net.gateway.sh('ipportfw -C')
    ports = [9, 1, 5, 7, 3]
    for port in ports:
        net.gateway.sh(f'ipportfw -A -u194.160.1.1/{port} -R 10.0.0.2/{port}')
    net.gateway.sh('ipportfw -A -u194.160.1.1/5 -R 10.0.0.3/50; ipportfw -D -u194.160.1.1/1')
    assert net.gateway.sh('ipportfw -L').out.splitlines()[1:] == [
        'UDP 194.160.1.1/9 > 10.0.0.2/9', 'UDP 194.160.1.1/5 > 10.0.0.3/50',
        'UDP 194.160.1.1/7 > 10.0.0.2/7', 'UDP 194.160.1.1/3 > 10.0.0.2/3']


def test_two_thousand_rules(net):
    net.gateway.sh('ipportfw -C')
    net.gateway.sh('i=1; while [ $i -le 2000 ]; do ipportfw -A -t194.160.1.1/$i -R 10.0.0.2/80; i=$((i+1)); done',
                   timeout=300)
    lines = net.gateway.sh('ipportfw -L').out.splitlines()
    assert lines[1:] == [f'TCP 194.160.1.1/{n} > 10.0.0.2/80' for n in range(1, 2001)]
    net.gateway.sh('ipportfw -D -t194.160.1.1/1000')
    with dial(net) as new:
        assert talk(new) == 'server'
    net.gateway.sh('ipportfw -C')
    assert len(net.gateway.sh('ipportfw -L').out.splitlines()) == 1
