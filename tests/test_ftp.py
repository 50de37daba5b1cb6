# SPDX-License-Identifier: GPL-2.0-only
"""FTP, whose control connection says where the next data connection goes: the
kernel's own helper module, for who dials out and for who dials in."""

import ftplib
import hashlib
import itertools
import random
import re
import socket

import pytest

import lab
from dialogue import Dialogue
from lab import IP, TCP

MIB = 1 << 20
FTP_SERVER = '''
import logging, sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import ActiveDTP, FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

class Active(ActiveDTP):
    """Forgets a descriptor that it has handed on: closed again at the end of
    its control connection, the number would be another client's."""
    def handle_connect(self):
        super().handle_connect()
        self.cmd_channel._dtp_connector = None

class Beside(Active):
    """Dials from the port below that of the control connection."""
    def connect_af_unspecified(self, to, source):
        self.create_socket()
        self.set_reuse_addr()
        self.bind((source[0], self.cmd_channel.socket.getsockname()[1] - 1))
        self.connect(to)

logging.basicConfig(level=logging.CRITICAL)
class Handler(FTPHandler):
    authorizer = DummyAuthorizer()
    permit_privileged_ports = True
    active_dtp = Active
Handler.authorizer.add_anonymous('.', perm='elrw', msg_login='hello')
class Usual(Handler):
    active_dtp = Beside
loop = IOLoop.instance()
servers = [FTPServer(('', port), Usual, loop) for port in (21, 2121)] + [FTPServer(('', 2323), Handler, loop)]
loop.loop()
'''
# The helper is loaded for 21, 2121 and 2124. Local port, port inside.
DOORS = [(21, 21), (2121, 2121), (2121, 21), (2122, 21), (2124, 2323)]
MODES = {'PASV': ['--disable-epsv', '--no-ftp-skip-pasv-ip'], 'EPSV': [], 'PORT': ['--ftp-port', '-', '--disable-eprt'],
         'EPRT': ['--ftp-port', '-']}
HELPERS = {'ip_masq_ftp': 'ftp', 'ip_masq_irc': 'irc', 'ip_masq_raudio': 'RealAudio', 'ip_masq_quake': 'Quake',
           'ip_masq_cuseeme': 'cuseeme', 'ip_masq_vdolive': 'VDOlive'}
VERSIONS = lab.GROUPS[1:] if lab.ALL else lab.GROUPS[-1:]
ports = itertools.count(10_000)


def modules(kernel):
    """The files that a gateway with this kernel can load."""
    return {f'/lib/modules/{name}.o': (kernel / f'net/ipv4/{name}.o').read_bytes() for name in HELPERS}


def gateway(kernel, **options):
    return lab.example(kernel, server='host', client='host', files=modules(kernel), **options)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """What the servers have."""
    folder = tmp_path_factory.mktemp('ftp')
    data = random.Random(959)
    (folder / 'large').write_bytes(data.randbytes(4 * MIB))
    for number in range(3):
        (folder / str(number)).write_bytes(data.randbytes(100_000 + number))
    return folder


def users(net):
    """The entries that keep the FTP helper from being unloaded."""
    return int(net.gateway.sh('grep ip_masq_ftp /proc/modules').out.split()[2])


def serve(host, folder):
    host.popen(['/usr/bin/python3', '-W', 'ignore', '-c', FTP_SERVER], cwd=folder)
    host.wait_listening(2323)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def curl(host, *words):
    return host.run(['curl', '-sS', '--fail', '--connect-timeout', '20', '--max-time', '60', *words])


# Ordinary masquerading: the client is inside

@pytest.fixture(scope='module', params=['stock', 'on'])
def plain(request, namespaces, folder):
    """A gateway with every helper and no rules; its `client` outside serves."""
    kernel = lab.kernel(VERSIONS[-1], request.param)
    with gateway(kernel, rc=lab.network.MASQUERADING) as net:
        net.boot()
        for name in HELPERS:
            net.gateway.sh(f'insmod /lib/modules/{name}.o')
        serve(net.client, folder)
        yield net


def test_every_helper_is_loaded_and_can_be_unloaded(plain):
    def loaded():
        return {line.split()[0] for line in plain.gateway.sh('cat /proc/modules').out.splitlines()}

    def registered():
        return {line.split()[3] for line in plain.gateway.sh('cat /proc/net/ip_masq_app').out.splitlines()[1:]}

    assert loaded() == set(HELPERS)
    assert registered() == set(HELPERS.values())
    plain.gateway.sh('rmmod ip_masq_quake ip_masq_vdolive')
    assert loaded() == set(HELPERS) - {'ip_masq_quake', 'ip_masq_vdolive'}
    assert registered() == set(HELPERS.values()) - {'Quake', 'VDOlive'}


def test_a_client_inside_is_dialled_back(plain, folder, tmp_path):
    plain.gateway.sh('ipfwadm -M -s 3 1 0')
    curl(plain.server, *MODES['PORT'], '-o', tmp_path / 'got', 'ftp://163.158.1.2/large')
    assert sha256(tmp_path / 'got') == sha256(folder / 'large')
    assert users(plain) == 1
    plain.gateway.until('rmmod ip_masq_ftp')
    with pytest.raises(lab.CommandFailed):
        curl(plain.server, *MODES['PORT'], '-o', tmp_path / 'got', 'ftp://163.158.1.2/large')
    plain.gateway.sh('insmod /lib/modules/ip_masq_ftp.o')


def test_irc_offers_a_file(plain):
    with (plain.client.socket() as server, plain.server.socket() as talker, plain.server.socket() as offer,
          plain.client.socket() as taker):
        offer.bind(('10.0.0.2', 5000))
        offer.listen()
        server.bind(('163.158.1.2', 6667))
        server.listen()
        talker.connect(('163.158.1.2', 6667))
        offers(talker, b'PRIVMSG you :\1DCC SEND file 167772162 5000 99\1\n')
        line = server.accept()[0].recv(1000)
        words = line.split()
        assert words[:5] == [b'PRIVMSG', b'you', b':\1DCC', b'SEND', b'file'], line
        assert int(words[5]) == int.from_bytes(socket.inet_aton('194.160.1.1'), 'big')
        assert 61000 <= int(words[6]) < 65096 and words[7] == b'99\1'
        taker.settimeout(20)
        taker.connect(('194.160.1.1', int(words[6])))
        offers(offer.accept()[0], b'the file')
        assert taker.recv(100) == b'the file'


def offers(sock, data):
    sock.settimeout(20)
    sock.sendall(data)


# Forwarded: the client is outside

@pytest.fixture(scope='module', params=VERSIONS)
def net(request, namespaces, folder):
    """Real hosts, and stations: `far` and `other` outside, `near` inside, which
    port 3021 leads to."""
    with gateway(lab.kernel(request.param)) as net:
        net.far, net.other = net.station(net.outside, '163.158.1.9/24'), net.station(net.outside, '163.158.1.10/24')
        net.near = net.station(net.inside, '10.0.0.9/24', via='10.0.0.1')
        net.boot()
        net.gateway.sh('insmod /lib/modules/ip_masq_ftp.o ports=21,2121,2124')
        for outer, inner in ((3021, 21), (3022, 3022)):
            net.gateway.sh(f'ipportfw -A -t194.160.1.1/{outer} -R 10.0.0.9/{inner}')
        serve(net.server, folder)
        yield net


@pytest.fixture(autouse=True)
def timeouts(request):
    if 'net' in request.fixturenames:
        request.getfixturevalue('net').gateway.sh('ipfwadm -M -s 900 120 300')


def forward(net, outer, inner):
    net.gateway.sh(f'ipportfw -A -t194.160.1.1/{outer} -R 10.0.0.2/{inner}')


def entries(net):
    """What netstat -M shows: inside and outside port -> the gateway's."""
    rows = re.findall(r'(?m)^tcp .* (\d+) -> (\d+) \((\d+)\)', net.gateway.sh('netstat -M -n').out)
    return {(int(inside), int(outside)): int(ours) for inside, outside, ours in rows}


# Real clients and a real server

@pytest.mark.parametrize('mode', MODES)
def test_there_and_back(net, folder, tmp_path, mode):
    """Files of some size, and the words of the server behind the changed text."""
    forward(net, 21, 21)
    curl(net.client, *MODES[mode], '-o', tmp_path / 'got', 'ftp://194.160.1.1/large')
    assert sha256(tmp_path / 'got') == sha256(folder / 'large')
    curl(net.client, *MODES[mode], '-T', tmp_path / 'got', f'ftp://194.160.1.1/{mode}')
    assert sha256(folder / mode) == sha256(folder / 'large')


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('outer, inner', DOORS[1:])
def test_on_other_ports(net, folder, tmp_path, outer, inner, mode):
    forward(net, outer, inner)
    curl(net.client, *MODES[mode], '-o', tmp_path / 'got', f'ftp://194.160.1.1:{outer}/0')
    assert sha256(tmp_path / 'got') == sha256(folder / '0')


@pytest.mark.parametrize('mode', MODES)
def test_many_files_in_one_session(net, folder, tmp_path, mode):
    """Each answer is changed anew, and the numbers add up."""
    forward(net, 21, 21)
    before = len(net.client.run(['ss', '-tanH', 'dport', '=', '21']).out.splitlines())
    curl(net.client, *MODES[mode], *(word for number in '012' * 10 for word in (
        '-o', tmp_path / number, f'ftp://194.160.1.1/{number}')))
    for number in '012':
        assert sha256(tmp_path / number) == sha256(folder / number)
    assert len(net.client.run(['ss', '-tanH', 'dport', '=', '21']).out.splitlines()) <= before + 1


class Session(ftplib.FTP):
    """A client that has logged in; its data connections are the caller's."""

    def __init__(self, host, port=21):
        super().__init__()
        self.client = host
        self.sock, self.af = host.socket(), socket.AF_INET
        self.sock.settimeout(20)
        self.sock.connect(('194.160.1.1', port))
        self.file = self.sock.makefile('r', encoding='utf-8')
        self.getresp()
        self.login()
        self.voidcmd('TYPE I')

    def data(self, sport=0):
        sock = self.client.socket()
        sock.settimeout(20)
        sock.bind(('163.158.1.2', sport))
        return sock


def digest(sock):
    total = hashlib.sha256()
    while piece := sock.recv(65536):
        total.update(piece)
    return total.hexdigest()


def test_netstat_shows_the_data_connections(net, folder):
    forward(net, 21, 21)
    ftp = Session(net.client)
    control = ftp.sock.getsockname()[1]
    address, port = ftplib.parse227(ftp.sendcmd('PASV'))
    assert address == '194.160.1.1'
    with ftp.data() as data:
        data.connect((address, port))
        ftp.putcmd('RETR large')
        mine = data.getsockname()[1]
        assert entries(net)[21, control] == 21
        assert entries(net)[port, mine] == port
        assert ftp.getresp()[:3] in ('125', '150')
        assert digest(data) == sha256(folder / 'large')
    ftp.voidresp()
    with ftp.data(next(ports)) as listener:
        listener.listen()
        ftp.voidcmd('PORT 163,158,1,2,{},{}'.format(*divmod(listener.getsockname()[1], 256)))
        data, peer = listener.accept()
        with data:
            assert peer == ('194.160.1.1', 20)
            assert entries(net)[20, listener.getsockname()[1]] == 20
            ftp.putcmd('RETR large')
            assert digest(data) == sha256(folder / 'large')
    assert ftp.getresp()[:3] in ('125', '150')
    ftp.voidresp()
    ftp.quit()


@pytest.mark.parametrize('outer, inner', DOORS)
def test_the_client_is_dialled_from_where_it_expects(net, outer, inner):
    """From the port below, if the server does that; some clients look."""
    forward(net, outer, inner)
    ftp = Session(net.client, outer)
    with ftp.data(next(ports)) as listener:
        listener.listen()
        ftp.putcmd('EPRT |1|163.158.1.2|{}|'.format(listener.getsockname()[1]))
        data, peer = listener.accept()
        data.close()
    ftp.voidresp()
    ftp.quit()
    assert peer[0] == '194.160.1.1'
    if inner in (21, 2121):
        assert peer[1] == outer - 1
    else:
        assert peer[1] < 61000


def test_all_at_once(net, folder, tmp_path):
    forward(net, 21, 21)
    clients = [net.client.popen(['curl', '-sS', '--fail', *words, '-o', tmp_path / mode, 'ftp://194.160.1.1/large'])
               for mode, words in MODES.items()]
    assert [net.client.wait(client) for client in clients] == [0] * len(MODES)
    for mode in MODES:
        assert sha256(tmp_path / mode) == sha256(folder / 'large')


# Packet by packet

class Control:
    """A control connection between two stations, each of which counts what it
    has sent and what it has got, as its TCP would."""

    def __init__(self, net, port=3021, inside=21, client=None):
        self.net, self.client, self.server = net, client or net.far, net.near
        self.asked, self.inside, self.sport = port, inside, next(ports)
        self.sent, self.got = {self.client: 1000, self.server: 500_000}, {self.client: 500_000, self.server: 1000}
        self.begin()

    def begin(self):
        """TCP's three segments, with the numbers that are set."""
        for who, flags in ((self.client, 'S'), (self.server, 'SA')):
            self.say(who, b'', flags=flags)
            self.sent[who] += 1
            self.got[self.other(who)] += 1
        self.say(self.client, b'', flags='A')

    def other(self, who):
        return self.server if who is self.client else self.client

    def packet(self, who, data, flags='PA', **fields):
        near, far = ((self.client.ip, self.sport), ('194.160.1.1', self.asked)) if who is self.client else (
            (self.server.ip, self.inside), (self.client.ip, self.sport))
        return IP(src=near[0], dst=far[0]) / TCP(
            sport=near[1], dport=far[1], flags=flags, seq=self.sent[who],
            ack=self.got[who] if 'A' in flags else 0, **fields) / data

    def say(self, who, data, text=None, flags='PA', again=False):
        """Send a segment; it arrives with this text, or unchanged, and with
        the numbers that the other end waits for."""
        text = data if text is None else text
        other = self.other(who)
        if again:
            self.sent[who] -= len(data)
            self.got[other] -= len(text)
        who.send(self.packet(who, data, flags))
        src, dst = ('194.160.1.1', self.asked), (self.client.ip, self.sport)
        if who is self.client:
            src, dst = (self.client.ip, self.sport), (self.server.ip, self.inside)
        came = other.expect(TCP, src=src[0], sport=src[1], dst=dst[0], dport=dst[1], flags=flags)
        lab.check_sums(came)
        assert bytes(came[IP])[40:came[IP].len] == text, came.show(dump=True)
        assert came[TCP].seq == self.got[other], came.show(dump=True)
        if 'A' in flags:
            assert came[TCP].ack == self.sent[other], came.show(dump=True)
        self.sent[who] += len(data)
        self.got[other] += len(text)

    def ask(self, text):
        """The client says a line, which the server acknowledges."""
        self.say(self.client, text.encode() + b'\r\n')
        self.say(self.server, b'', flags='A')

    def answer(self, text, becomes=None):
        """The server says a line, which the client acknowledges."""
        self.say(self.server, text.encode() + b'\r\n', (becomes or text).encode() + b'\r\n')
        self.say(self.client, b'', flags='A')

    def passive(self, port=None):
        """The server's answer to PASV. Returns the port."""
        port = port or next(ports)
        self.ask('PASV')
        self.answer(named('10,0,0,9', port), named('194,160,1,1', port))
        return port

    def active(self, port=None):
        """The client's PORT. Returns the port."""
        port = port or next(ports)
        self.ask(command('163,158,1,9', port))
        return port

    def talk(self):
        """Nothing is wrong with it."""
        self.ask('NOOP')
        self.answer('200 Well.')

    def close(self):
        for who in (self.server, self.client):
            self.say(who, b'', flags='FA')
            self.sent[who] += 1
            self.got[self.other(who)] += 1
        self.say(self.server, b'', flags='A')


def named(address, port):
    return f'227 Entering Passive Mode ({address},{port // 256},{port % 256}).'


def command(address, port):
    return f'PORT {address},{port // 256},{port % 256}'


def dials_in(net, port, client=None):
    """A client's data connection to a port, its own port new."""
    return Dialogue(client or net.far, net.near, next(ports), port, port)


def dials_out(net, port, sport=20, flags='S'):
    """The server inside dials the client. Returns the port of 194.160.1.1 that
    the client sees."""
    net.near.send(IP(dst='163.158.1.9') / TCP(sport=sport, dport=port, flags=flags, seq=7))
    came = net.far.expect(TCP, src='194.160.1.1', dport=port, flags=flags, seq=7)
    lab.check_sums(came)
    return came.sport


def is_masqueraded(port):
    return 61000 <= port < 65096


def test_an_answer_is_made_longer_and_the_numbers_follow(net):
    it = Control(net)
    for _ in range(3):
        port = it.passive()
        data = dials_in(net, port).open()
        data.talk()
        data.close()
        it.talk()
    it.close()


def test_a_changed_answer_that_is_sent_again(net):
    it = Control(net)
    port = next(ports)
    before, after = (named(address, port).encode() + b'\r\n' for address in ('10,0,0,9', '194,160,1,1'))
    it.say(it.server, before, after)
    for _ in range(2):
        it.say(it.server, before, after, again=True)
    it.say(it.client, b'', flags='A')
    it.say(it.server, b'and more\r\n')
    it.say(it.server, b'and more\r\n', again=True)
    it.say(it.client, b'', flags='A')
    it.talk()
    dials_in(net, port).open().talk()
    it.talk()


def test_a_rule_for_any_address_names_the_one_that_was_asked(net):
    net.gateway.sh('ipportfw -A -t0.0.0.0/3023 -R 10.0.0.9/21')
    it = Control(net, port=3023)
    dials_in(net, it.passive()).open().talk()
    it.talk()


@pytest.mark.parametrize('opens', [
    lambda it, port: it.passive(port),
    lambda it, port: it.answer(f'229 Entering Extended Passive Mode (|||{port}|)'),
    lambda it, port: it.answer(named('194,160,1,1', port)),
], ids=['227', '229', '227 of a server that knows its outer address'])
def test_an_announced_port_is_open_once_for_that_client(net, opens):
    it, port = Control(net), next(ports)
    dials_in(net, port).refused()
    opens(it, port)
    dials_in(net, port + 1).refused()
    dials_in(net, port, client=net.other).refused()
    data = dials_in(net, port).open()
    dials_in(net, port).refused()
    dials_in(net, port, client=net.other).refused()
    data.talk()
    data.close()
    dials_in(net, port).refused()
    it.talk()
    it.close()


def test_what_was_announced_ends_with_the_control_connection(net):
    it = Control(net)
    port = it.passive()
    call = it.active()
    it.close()
    dials_in(net, port).refused()
    assert is_masqueraded(dials_out(net, call))
    it = Control(net)
    port = it.passive()
    it.say(it.client, b'', flags='R')
    dials_in(net, port).refused()


@pytest.mark.parametrize('words', [command, lambda address, port: command(address, port).lower(),
                                   lambda address, port: 'EPRT |1|{}|{}|'.format(address.replace(',', '.'), port)],
                         ids=['PORT', 'port', 'EPRT'])
def test_the_server_may_dial_once_where_the_client_said(net, words):
    it, port = Control(net), next(ports)
    assert is_masqueraded(dials_out(net, port))
    port = next(ports)
    it.ask(words('163,158,1,9', port))
    assert is_masqueraded(dials_out(net, port + 1))
    next(ports)
    for _ in range(2):      # the same again, as if it had been lost
        assert dials_out(net, port) == 3020
    net.far.send(IP(dst='194.160.1.1') / TCP(sport=port, dport=3020, flags='SA', seq=70, ack=8))
    lab.check_sums(net.near.expect(TCP, src='163.158.1.9', sport=port, dport=20, flags='SA', seq=70, ack=8))
    assert is_masqueraded(dials_out(net, port, sport=4711))
    it.talk()
    it.ask(words('163,158,1,9', port + 1))
    assert dials_out(net, port + 1, sport=4711) == 4711
    it.talk()


def test_nobody_comes_in_by_the_port_that_the_server_will_dial_from(net):
    it = Control(net)
    port = it.active()
    for client, sport in ((net.far, port), (net.far, next(ports)), (net.other, port)):
        Dialogue(client, net.near, sport, 3020, 20).refused()
    assert dials_out(net, port) == 3020


@pytest.mark.parametrize('line', [
    lambda port: command('163,158,1,10', port), lambda port: f'EPRT |1|163.158.1.10|{port}|',
    lambda port: f'EPRT |2|163.158.1.9|{port}|', lambda port: command('163,158,257,9', port),
    lambda port: f'PORT 163,158,1,9,{port // 256 + 256},{port % 256}', lambda port: command('163,158,1', port),
    lambda port: f'SITE {command("163,158,1,9", port)}', lambda port: named('163,158,1,9', port),
], ids=['PORT to another', 'EPRT to another', 'EPRT by IPv6', 'no address', 'no port', 'no comma', 'no command',
        'an answer'])
def test_what_the_client_says_and_opens_nothing(net, line):
    it, port = Control(net), next(ports)
    it.ask(line(port))
    assert is_masqueraded(dials_out(net, port))
    net.near.send(IP(dst='163.158.1.10') / TCP(sport=20, dport=port, flags='S', seq=7))
    assert is_masqueraded(net.other.expect(TCP, dport=port, flags='S').sport)
    it.talk()


@pytest.mark.parametrize('line', [
    lambda port: named('10,0,0,2', port), lambda port: named('10,0,265,9', port),
    lambda port: f'500 What is {named("10,0,0,9", port)}?', lambda port: f'500-{named("10,0,0,9", port)}',
    lambda port: f'229 Entering Extended Passive Mode (|||{port + 65536}|)', lambda port: command('10,0,0,9', port),
    lambda port: f'500 229 Entering Extended Passive Mode (|||{port}|)', lambda port: f'2270 (10,0,0,9,{port // 256},{port % 256})',
], ids=['another host', 'no address', 'inside another', 'behind a number', '229 with no port', 'a command',
        '229 in another', 'no number'])
def test_what_the_server_says_and_opens_nothing(net, line):
    it, port = Control(net), next(ports)
    it.answer(line(port))
    dials_in(net, port).refused()
    it.talk()


def test_no_helper_no_following(net):
    it, port = Control(net, port=3022, inside=3022), next(ports)
    it.answer(named('10,0,0,9', port))
    dials_in(net, port).refused()
    it.ask(command('163,158,1,9', port))
    assert is_masqueraded(dials_out(net, port))
    it.talk()


@pytest.mark.parametrize('cut', [1, 3, 25, 30, 35, 40])
def test_a_text_in_pieces_does_no_harm(net, cut):
    it, port = Control(net), next(ports)
    text = named('10,0,0,9', port).encode() + b'\r\n'
    it.say(it.server, text[:cut])
    it.say(it.server, text[cut:])
    it.say(it.client, b'', flags='A')
    dials_in(net, port).refused()
    it.talk()
    dials_in(net, it.passive()).open().talk()
    it.talk()


@pytest.mark.parametrize('cut', [3, 20, -3])
def test_a_command_in_pieces_does_no_harm(net, cut):
    """Nor is half of its last number taken for a port."""
    it, port = Control(net), next(ports)
    text = command('163,158,1,9', port).encode() + b'\r\n'
    it.say(it.client, text[:cut])
    it.say(it.client, text[cut:])
    it.say(it.server, b'', flags='A')
    assert is_masqueraded(dials_out(net, port))
    assert is_masqueraded(dials_out(net, port // 256 * 256 + port % 256 // 10))
    it.talk()


REPEATED = pytest.mark.parametrize('text', [
    lambda port: named('10,0,0,9', port), lambda port: f'229 Entering Extended Passive Mode (|||{port}|)'],
    ids=['227', '229'])


@REPEATED
def test_the_client_cannot_have_the_server_say_it(net, text):
    """A server repeats what it does not know, and the client decides by its
    window and segment size where the answer is cut."""
    it, port = Control(net), next(ports)
    it.ask(text(port))
    it.say(it.server, b'500 What is ')
    it.say(it.client, b'', flags='A')
    it.say(it.server, text(port).encode() + b'?\r\n')
    it.say(it.client, b'', flags='A')
    dials_in(net, port).refused()
    it.talk()


@REPEATED
def test_nor_where_it_has_the_connection_begin_anew(net, text):
    """A reset that only the gateway believes, and a SYN: the server acknowledges
    what it has got, in the middle of its line."""
    it, port = Control(net), next(ports)
    it.ask(text(port))
    it.say(it.server, b'500 What is ')
    for who, flags in ((it.client, 'A'), (it.client, 'R'), (it.client, 'S'), (it.server, 'A'), (it.client, 'A')):
        it.say(who, b'', flags=flags)
    it.say(it.server, text(port).encode() + b'?\r\n')
    it.say(it.client, b'', flags='A')
    dials_in(net, port).refused()
    dials_in(net, it.passive()).open().talk()


@pytest.mark.parametrize('ahead', [-1 << 30, 1 << 30])
def test_the_numbers_begin_anew_under_the_entry_of_an_older_connection(net, ahead):
    """The text was made longer there, of which the new one knows nothing."""
    it = Control(net)
    it.passive()
    it.say(it.client, b'', flags='R')
    it.say(it.client, b'', flags='A')
    it.sent[it.server] = it.got[it.client] = it.sent[it.server] + ahead & 0xffffffff
    it.begin()
    for turn in range(3):
        dials_in(net, it.passive()).open().talk()
    it.talk()


def test_nor_under_the_entry_of_an_older_connection(net):
    """The server has believed the reset, and the gateway what came after it."""
    it, port = Control(net), next(ports)
    it.talk()
    line = it.sent[it.server]
    it.say(it.client, b'', flags='R')
    it.say(it.client, b'', flags='A')
    it.sent[it.server] = it.got[it.client] = line - 101
    it.begin()
    it.say(it.server, b'x' * 100)
    it.say(it.client, b'', flags='A')
    assert it.sent[it.server] == line
    it.answer(f'229 (|||{port}|)')
    dials_in(net, port).refused()
    dials_in(net, it.passive()).open().talk()


def test_nobody_outside_speaks_for_the_server(net):
    it, port = Control(net), next(ports)
    packet = IP(bytes(it.packet(it.server, f'229 (|||{port}|)\r\n'.encode())))
    net.far.send(packet, to='194.160.1.1')
    net.far.expect_nothing('194.160.1.1', TCP, dport=it.sport)
    dials_in(net, port).refused()
    it.active(port)
    packet = IP(src='10.0.0.9', dst='163.158.1.9') / TCP(sport=20, dport=port, flags='S', seq=7)
    net.far.send(packet, to='194.160.1.1')
    net.far.expect_nothing('194.160.1.1', TCP, dport=port)
    it.talk()


def test_a_server_takes_no_port_that_is_served(net):
    """By a rule, or the gateway itself: the client is not sent there, nor to
    what was announced before."""
    def announces(port):
        it.ask('PASV')
        it.answer(named('10,0,0,9', port))

    it, port = Control(net), next(ports)
    before = it.passive()
    net.gateway.sh(f'ipportfw -A -t194.160.1.1/{port} -R 10.0.0.9/4444')
    announces(port)
    dials_in(net, before).refused()
    Dialogue(net.far, net.near, next(ports), port, 4444).open().talk()
    net.gateway.sh(f'ipportfw -D -t194.160.1.1/{port}')
    own = net.gateway.background('tcpsvd 0.0.0.0 3128 cat')
    try:
        net.gateway.until('netstat -t -a -n | grep -q :3128')
        announces(3128)
        sport = next(ports)
        net.far.send(IP(dst='194.160.1.1') / TCP(sport=sport, dport=3128, flags='S'))
        assert net.far.expect(TCP, sport=3128, dport=sport)[TCP].flags == 'SA'
    finally:
        net.gateway.sh(f'kill {own}')
    it.talk()


def test_a_text_that_is_damaged_opens_nothing(net):
    it, port = Control(net), next(ports)
    for who, text in ((it.server, named('10,0,0,9', port)), (it.client, command('163,158,1,9', port))):
        packet = IP(bytes(it.packet(who, text.encode() + b'\r\n')))
        packet[TCP].chksum ^= 0x0101
        who.send(packet)
    net.near.ping('10.0.0.1')
    net.far.ping('194.160.1.1')
    for station in (net.far, net.near):
        for came in station.inbox.only(TCP, where=lambda p: it.sport in (p.sport, p.dport)):
            with pytest.raises(lab.LabError):
                lab.check_sums(came)
        station.inbox.clear()
    it.talk()
    dials_in(net, port).refused()
    assert is_masqueraded(dials_out(net, port))


def test_the_control_connection_lives_as_long_as_a_transfer(net):
    """Its own time of two seconds is over twice."""
    net.gateway.sh('ipfwadm -M -s 2 2 300')
    it = Control(net)
    port = it.passive()
    data = dials_in(net, port).open()
    over = lab.loop.deadline(5)
    while not over():
        data.talk()
        assert entries(net).get((21, it.sport)) == 3021
    it.talk()       # with numbers that only this entry knows
    data.close()
    it.talk()
    net.gateway.until(f"! netstat -M -n | grep -q -- '-> {it.sport} '")


def test_the_helper_is_unloaded_under_a_session(net):
    """The session goes on, the next one is not followed."""
    it = Control(net)
    it.passive()
    net.gateway.sh('rmmod ip_masq_ftp')
    it.talk()
    dials_in(net, it.passive()).open().talk()
    late, port = Control(net), next(ports)
    late.answer(named('10,0,0,9', port))
    dials_in(net, port).refused()
    net.gateway.sh('insmod /lib/modules/ip_masq_ftp.o ports=21,2121,2124')
    it.talk()
    late.talk()
    dials_in(net, Control(net).passive()).open().talk()


def test_afterwards_nothing_is_held(net):
    net.gateway.sh('ipfwadm -M -s 900 1 300')
    it = Control(net)
    data = dials_in(net, it.passive()).open()
    it.active()
    it.close()
    data.close()
    net.gateway.until(f"! netstat -M -n | grep -Eq -- '-> ({it.sport}|{data.near[1]}) '")
    assert users(net) == 0


@pytest.fixture
def room_for_50(net):
    """There may be 50 connections more than there are."""
    limit = net.gateway.sh('grep -w connections /proc/net/ip_portfw_limits').out
    now = len(net.gateway.sh('cat /proc/net/ip_masquerade').out.splitlines())
    net.gateway.sh(f'echo connections {now + 50} >/proc/net/ip_portfw_limits')
    yield
    net.gateway.sh(f'echo {limit} >/proc/net/ip_portfw_limits')


def test_who_announces_without_end_takes_no_room_from_others(net, room_for_50):
    """Nor from itself: what was announced last counts."""
    it, other = Control(net), Control(net, client=net.other)
    for _ in range(100):
        it.active()
    other.talk()
    Control(net, client=net.other).talk()
    dials_in(net, other.passive(), client=net.other).open().talk()
    assert dials_out(net, it.active()) == 3020
    dials_in(net, it.passive()).open().talk()
