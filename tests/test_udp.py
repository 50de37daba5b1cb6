# SPDX-License-Identifier: GPL-2.0-only
"""UDP: what belongs together without ever having been a connection."""

import pytest

import lab
from doors import ALIAS, ALIAS_RC, VERSIONS, Conversation, Door, expires, sends, takes
from lab import ICMP, IP, TCP, UDP
from lab.network import MASQUERADING

TIMEOUT = 4             # seconds, of UDP
HALF_OPEN = 60 * 100    # ticks
ECHO = Door(UDP, lab.OUTSIDE, 525, 525)
ANY = Door(UDP, '0.0.0.0', 91, 9100, asked=ALIAS)
SECOND = '10.0.0.3'
OTHERS = [Door(UDP, lab.OUTSIDE, 526, 525, host=SECOND), Door(UDP, ALIAS, 525, 1000)]
MANY = [Door(UDP, lab.OUTSIDE, port, port + 1000) for port in range(7000, 7050)]
SAME = Door(UDP, lab.OUTSIDE, 527, 525)         # the server's port that ECHO leads to
CLIENTS = [f'163.158.1.{number}' for number in range(100, 150)]


@pytest.fixture(scope='module', params=VERSIONS)
def net(request):
    rules = [ECHO, ANY, *OTHERS, *MANY, SAME]
    with lab.example(lab.kernel(request.param), server='station', rc=MASQUERADING + ALIAS_RC + '. /etc/rules\n',
                     files={'/etc/rules': ''.join(f'{door.rule}\n' for door in rules)}) as net:
        net.second = net.station(net.inside, f'{SECOND}/24', via=lab.INSIDE)
        net.crowd = net.station(net.outside, '163.158.1.99/24', also=CLIENTS)
        yield net.boot()


@pytest.fixture
def soon_over(net):
    """Connections are forgotten soon."""
    net.gateway.sh(f'ipfwadm -M -s 900 120 {TIMEOUT}')
    yield
    net.gateway.sh('ipfwadm -M -s 900 120 300')


def ask(net, door, sport, data=b'question', **fields):
    sent = sends(net.client, door.query(sport, data, **fields))
    return takes(net.second if door.host == SECOND else net.server, door.inward(sent))


def answer(net, door, sport, data=b'answer', **fields):
    sent = sends(net.second if door.host == SECOND else net.server, door.answer(sport, data, **fields))
    return takes(net.client, door.outward(sent))


@pytest.mark.parametrize('summed', [{}, {'chksum': 0}], ids=['with checksum', 'without checksum'])
def test_many_clients_with_one_port(net, summed):
    for turn in 'first', 'second':
        for client in CLIENTS:
            data = f'{client} for the {turn} time'.encode()
            sent = sends(net.crowd, IP(src=client, dst=lab.OUTSIDE) / UDP(sport=5000, dport=525, **summed) / data)
            came = takes(net.server, ECHO.inward(sent))
            assert came.src == client and bool(came[UDP].chksum) != bool(summed)
        for client in reversed(CLIENTS):
            data = f'{client} is told for the {turn} time'.encode()
            sent = sends(net.server, ECHO.answer(5000, data, client=client, **summed))
            came = takes(net.crowd, ECHO.outward(sent))
            assert came.dst == client and bool(came[UDP].chksum) != bool(summed)


@pytest.mark.parametrize('summed', [{}, {'chksum': 0}], ids=['with checksum', 'without checksum'])
def test_one_client_port_and_many_doors(net, summed):
    doors = [*MANY, *OTHERS, ANY]
    for turn in 'first', 'second':
        for door in doors:
            ask(net, door, 5001, f'{door} {turn}'.encode(), **summed)
        for door in reversed(doors):
            answer(net, door, 5001, f'{door} {turn}'.encode(), **summed)


def test_one_door_and_many_ports_of_a_client(net):
    for sport in range(5100, 5150):
        ask(net, ECHO, sport)
    for sport in reversed(range(5100, 5150)):
        answer(net, ECHO, sport)


def test_data_of_any_length(net):
    talk = Conversation(net, ECHO, 5200)
    for length in 0, 1, 2, 3, 1471, 1472:
        talk.ask(bytes(length))
        talk.answer(bytes(length))


@pytest.mark.parametrize('door', [ECHO, ANY], ids=str)
def test_answers_after_silence(net, door, soon_over):
    """Up to the timeout, each from the address and port that was asked. The
    timeout counts from the last datagram, whoever it was from."""
    talk = Conversation(net, door, 5300)
    for says in talk.answer, talk.answer, talk.ask, talk.answer:
        net.gateway.sh(f'sleep {TIMEOUT - 2}')
        assert expires(net.gateway, UDP, 5300)
        says(b'after a while')


def test_after_the_timeout(net, soon_over):
    """It is forgotten; a late answer is right all the same, and so is what the
    client says to it."""
    talk = Conversation(net, ECHO, 5400)
    assert expires(net.gateway, UDP, 5400)
    net.gateway.sh(f'sleep {TIMEOUT + 1}')
    assert expires(net.gateway, UDP, 5400) is None
    talk.answer(b'late')
    talk.ask(b'but welcome')
    talk.answer(b'good')


def test_a_server_that_speaks_first(net):
    """From the port a rule leads to: that is where its client finds it. It is
    not taken at its word until the client has answered."""
    for turn in range(3):
        answer(net, ECHO, 5500, b'hello?')
    assert expires(net.gateway, UDP, 5500) <= HALF_OPEN
    ask(net, ECHO, 5500, b'hello!')
    answer(net, ECHO, 5500, b'well')
    assert expires(net.gateway, UDP, 5500) > HALF_OPEN
    # A rule for any address means that of the interface it leaves by.
    door = Door(UDP, '0.0.0.0', ANY.port, ANY.inner, asked=lab.OUTSIDE)
    answer(net, door, 5501, b'hello?')
    ask(net, door, 5501, b'hello!')


def test_of_the_rules_that_lead_to_a_server_that_speaks_first_the_oldest_counts(net):
    ports = [5512, 5511, 5513]
    for port in ports:
        net.gateway.sh(f'ipportfw -A -u194.160.1.1/{port} -R {lab.SERVER}/5510')
    sent = sends(net.server, IP(dst=lab.CLIENT) / UDP(sport=5510, dport=5502) / b'hello?')
    assert net.client.expect(IP, id=sent.id)[UDP].sport == ports[0]
    for port in ports:
        net.gateway.sh(f'ipportfw -D -u194.160.1.1/{port}')


def test_another_port_of_the_server_is_not_mistaken(net):
    """It is masqueraded, as ever."""
    talk = Conversation(net, ECHO, 5600)
    sent = sends(net.server, IP(dst=lab.CLIENT) / UDP(sport=9999, dport=5600) / b'not me')
    came = net.client.expect(IP, id=sent.id)
    assert came[IP].src == lab.OUTSIDE and 61000 <= came[UDP].sport < 65096
    # What the client says to that does not go to the port that it asked first.
    net.client.send(IP(dst=lab.OUTSIDE) / UDP(sport=5600, dport=came[UDP].sport) / b'who then?')
    assert net.server.expect(UDP, sport=5600)[UDP].dport == 9999
    talk.ask(b'and you?')
    talk.answer(b'still here')


def test_another_host_inside_is_not_mistaken(net):
    talk = Conversation(net, ECHO, 5601)
    sent = sends(net.second, IP(dst=lab.CLIENT) / UDP(sport=1234, dport=5601) / b'not me')
    assert 61000 <= net.client.expect(IP, id=sent.id)[UDP].sport < 65096
    talk.answer(b'I am')


def test_tcp_with_the_same_ports_is_another_matter(net):
    talk = Conversation(net, ECHO, 5602)
    net.client.send(IP(dst=lab.OUTSIDE) / TCP(sport=5602, dport=525, flags='S'))
    assert net.client.expect(TCP, sport=525)[TCP].flags == 'RA'
    talk.answer(b'unmoved')


def test_two_doors_to_one_port_of_the_server(net):
    """What the server answered to one client port could not be told apart: the
    second is refused at once, and the first goes on."""
    talk = Conversation(net, ECHO, 5700)
    sent = sends(net.client, SAME.query(5700, b'me too'))
    refusal = net.client.expect(ICMP, type=3, code=3)
    lab.check_sums(refusal)
    quoted = IP(bytes(refusal[ICMP])[8:])
    assert refusal[IP].src == lab.OUTSIDE and quoted.id == sent.id
    assert (quoted.src, quoted.dst, quoted[UDP].sport, quoted[UDP].dport) == (lab.CLIENT, lab.OUTSIDE, 5700, SAME.port)
    net.server.expect_nothing(lab.INSIDE, IP, id=sent.id)
    talk.answer(b'to the first')
    # From another port it is welcome.
    Conversation(net, SAME, 5701)
    talk.ask(b'and again')
