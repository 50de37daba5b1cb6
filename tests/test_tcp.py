# SPDX-License-Identifier: GPL-2.0-only
"""The life of a TCP connection: how it ends, how long it is remembered, and
how it goes on when the gateway has forgotten it."""

import hashlib
import pathlib
import random
import socket
import threading

import pytest

import lab
from dialogue import Dialogue, says
from lab import TCP
from lab.network import BOOT_SCRIPT

HZ = 100
MIB = 1 << 20


@pytest.fixture(scope='module', params=lab.GROUPS if lab.ALL else ['2.0.40'])
def kernel(request):
    return lab.kernel(request.param)


@pytest.fixture(scope='module')
def net(kernel):
    with lab.example(kernel, server='station') as net:
        yield net.boot()


@pytest.fixture(autouse=True)
def defaults(request):
    """The rule and the timeouts that each test begins with."""
    for name in {'net', 'real'} & set(request.fixturenames):
        net = request.getfixturevalue(name)
        timeouts(net, 900, 120)
        net.gateway.sh('ipportfw -C; ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80')


def timeouts(net, tcp, fin):
    """For all that comes, in seconds."""
    net.gateway.sh(f'ipfwadm -M -s {tcp} {fin} 0')


def forgotten(net, connection):
    net.gateway.until(f"! netstat -M -n | grep -q -- '-> {connection.near[1]} '")


# Its end

def test_both_ends_close_at_once(net):
    it = Dialogue(net.client, net.server, 1000).open()
    timeouts(net, 900, 3)
    crossing = it.send_outward('FA')
    it.inward('FA')
    net.client.expect(TCP, src='194.160.1.1', sport=80, dport=1000, seq=crossing[TCP].seq, flags='FA')
    assert it.expires(net.gateway) <= 3 * HZ
    it.inward('A')
    it.outward('A')
    assert it.expires(net.gateway) <= 3 * HZ
    forgotten(net, it)


@pytest.mark.parametrize('first', ['client', 'server'])
def test_half_closed_the_other_half_goes_on(net, first):
    """For longer than a closed connection is remembered, and without the rule,
    so without being picked up again."""
    it = Dialogue(net.client, net.server, 1100).open()
    timeouts(net, 900, 1)
    net.gateway.sh('ipportfw -C')
    one, other = (it.inward, it.outward) if first == 'client' else (it.outward, it.inward)
    one('FA')
    for _ in range(2):
        other('PA', b'more')
        one('A')
        assert it.expires(net.gateway) > 1 * HZ
        net.gateway.sh('sleep 1.2')
    other('FA')
    one('A')
    assert it.expires(net.gateway) <= 1 * HZ
    forgotten(net, it)


@pytest.mark.parametrize('who', ['client', 'server'])
def test_a_reset_passes_and_the_port_is_free(net, who):
    sport = 1200 + (who == 'client')
    it = Dialogue(net.client, net.server, sport).open()
    (it.inward if who == 'client' else it.outward)('RA')
    assert it.expires(net.gateway) <= 10 * HZ
    again = Dialogue(net.client, net.server, sport).open()
    again.talk()
    assert again.expires(net.gateway) > 120 * HZ


def test_a_closed_connection_is_remembered_for_its_last_words(net):
    """A lost ACK is asked for anew by the FIN repeated, rule or no rule."""
    it = Dialogue(net.client, net.server, 1300).open()
    net.gateway.sh('ipportfw -C')
    it.inward('FA')
    it.outward('FA')
    assert 10 * HZ < it.expires(net.gateway) <= 120 * HZ
    it.inward('A')
    it.outward('A')


@pytest.mark.parametrize('first', ['client', 'server'])
def test_the_port_is_used_again_within_the_fin_timeout(net, first):
    """By a new connection, which the rule of now leads."""
    it = Dialogue(net.client, net.server, 1400).open()
    one, other = (it.inward, it.outward) if first == 'client' else (it.outward, it.inward)
    one('FA')
    other('FA')
    one('A')
    assert it.expires(net.gateway) > 60 * HZ
    net.gateway.sh('ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/8000')
    again = Dialogue(net.client, net.server, 1400, inside=8000).open()
    again.talk()
    assert again.expires(net.gateway) > 120 * HZ and it.expires(net.gateway) is None
    again.reset()


# Its timeout

@pytest.mark.parametrize('who', ['client', 'server'])
def test_a_session_outlives_the_timeout_as_long_as_somebody_speaks(net, who):
    """Without the rule, so that what is forgotten is lost."""
    timeouts(net, 2, 1)
    it = Dialogue(net.client, net.server, 1500).open()
    net.gateway.sh('ipportfw -C')
    speak = it.inward if who == 'client' else it.outward
    for _ in range(3):
        net.gateway.sh('sleep 1')
        speak('PA', b'still here')
    it.talk()
    forgotten(net, it)
    it.refused('A')


# Begun before the gateway

def test_the_server_may_be_the_first_to_speak(net):
    """On a connection that the gateway has never seen."""
    it = Dialogue(net.client, net.server, 1600)
    it.outward('PA', b'are you still there?')
    it.inward('A')
    it.talk()
    it.close()


def test_of_two_ports_that_lead_to_the_server_none_is_guessed(net):
    net.gateway.sh('ipportfw -A -t194.160.1.1/8080 -R 10.0.0.2/80')
    it = Dialogue(net.client, net.server, 1700, asked=8080)
    it.lost_outward('PA', b'are you still there?')
    it.inward('PA', b'I asked port 8080')       # now it is known
    it.talk()


@pytest.mark.parametrize('flags', ['SA', 'R', 'RA'])
def test_the_server_begins_nothing_with(net, flags):
    """No connection of ours, and none of masquerading's own."""
    it = Dialogue(net.client, net.server, 1800)
    it.lost_outward(flags)
    assert '-> 1800' not in net.gateway.sh('netstat -M -n').out


# Between real hosts

@pytest.fixture(scope='module')
def real(kernel, namespaces):
    # Masquerading last: an answer that it gets before there is the rule leaves
    # from another port, and the client resets it.
    rc = ''.join(sorted(BOOT_SCRIPT.splitlines(True), key=lambda line: 'masquerade' in line))
    with lab.example(kernel, server='host', client='host', rc=rc) as net:
        net.boot()
        with net.server.socket() as net.listener:
            net.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            net.listener.settimeout(30)
            net.listener.bind(('', 80))
            net.listener.listen()
            yield net


def dial(real, port=0):
    """Both ends of a new connection."""
    near = real.client.socket()
    near.settimeout(30)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    near.bind(('', port))
    near.connect(('194.160.1.1', 80))
    far, peer = real.listener.accept()
    far.settimeout(30)
    assert peer == ('163.158.1.2', near.getsockname()[1])
    return near, far


def test_a_real_client_uses_one_port_again_and_again(real):
    for turn in range(10):
        near, far = dial(real, 7000)
        with near, far:
            says(near, b'question %d' % turn, far)
            says(far, b'answer %d' % turn, near)
            far.close()                 # who closes first keeps the port busy
            assert near.recv(1) == b''
        table = pathlib.Path(f'/proc/{real.client.pid}/net/tcp')
        lab.loop.wait(lambda: f':{7000:04X} ' not in table.read_text(), 60, 'end of the connection', poll=0.01)


def test_real_hosts_with_one_half_closed(real):
    near, far = dial(real)
    with near, far:
        near.shutdown(socket.SHUT_WR)
        assert far.recv(1) == b''
        for _ in range(3):
            says(far, b'still talking', near)
        far.close()
        assert near.recv(1) == b''


def test_keepalives_are_enough(real):
    """An idle session is kept, in spite of the timeout and without the rule."""
    timeouts(real, 3, 2)
    near, far = dial(real)
    with near, far:
        real.gateway.sh('ipportfw -D -t194.160.1.1/80')
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        with real.inside.capture() as frames:
            real.gateway.sh('sleep 5')
        assert len(frames.only(TCP, sport=80)) >= 3
        says(far, b'there you are', near)
        says(near, b'indeed', far)


def test_open_connections_go_on_when_the_gateway_is_started_anew(real):
    """Whoever speaks first, and a transfer that is under way."""
    data = random.Random(2).randbytes(2 * MIB)
    sessions = [dial(real) for _ in range(3)]
    (first, first_far), (second, second_far), (bulk, bulk_far) = sessions
    says(first, b'hello', first_far)
    says(second_far, b'hello', second)
    sender = threading.Thread(target=lambda: bulk_far.sendall(data), daemon=True)
    sender.start()
    got = bytearray(bulk.recv(1000))
    real.gateway.stop()
    real.gateway.boot()
    says(first, b'the client speaks first', first_far)
    says(first_far, b'and is answered', first)
    says(second_far, b'the server speaks first', second)
    says(second, b'and is answered', second_far)
    while len(got) < len(data):
        piece = bulk.recv(65536)
        assert piece, 'the connection was closed'
        got += piece
    sender.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    for end in (end for session in sessions for end in session):
        end.close()
