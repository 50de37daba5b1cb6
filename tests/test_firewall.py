# SPDX-License-Identifier: GPL-2.0-only
"""The firewall still rules. Which chain sees a forwarded packet with which
addresses is the table here; what a chain says is done; each packet is counted
once."""

import itertools

import pytest

import lab
from dialogue import Dialogue
from lab import ICMP, IP, TCP, UDP
from lab.network import MASQUERADING

RULES = '''\
ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/8000
ipportfw -A -u194.160.1.1/525 -R 10.0.0.2/5250
'''
PORTS = {TCP: (80, 8000), UDP: (525, 5250)}

# (chain, interface, what it sees): C the client, L the gateway's address and
# port that it asked, H the host and port inside, G and I the gateway's two
# addresses with a port of its own.
INWARD = {('I', 'eth1', 'C > L'), ('A in', 'eth1', 'C > L'), ('O', 'eth0', 'C > H'), ('A out', 'eth0', 'C > H')}
OUTWARD = {('I', 'eth0', 'H > C'), ('A in', 'eth0', 'H > C'), ('F', 'eth1', 'H > C'), ('O', 'eth1', 'L > C'),
           ('A out', 'eth1', 'L > C')}
# from the server's own network, K
REFLECTED_INWARD = {('I', 'eth0', 'K > L'), ('A in', 'eth0', 'K > L'), ('O', 'eth0', 'I > H'),
                    ('A out', 'eth0', 'I > H')}
REFLECTED_OUTWARD = {('I', 'eth0', 'H > I'), ('A in', 'eth0', 'H > I'), ('O', 'eth0', 'L > K'),
                     ('A out', 'eth0', 'L > K')}
# from the gateway itself
OWN_INWARD = {('O', 'lo', 'G > L'), ('A out', 'lo', 'G > L'), ('I', 'lo', 'G > L'), ('A in', 'lo', 'G > L'),
              ('O', 'eth0', 'G > H'), ('A out', 'eth0', 'G > H')}
OWN_OUTWARD = {('I', 'eth0', 'H > G'), ('A in', 'eth0', 'H > G')}


@pytest.fixture(scope='module')
def net():
    with lab.example(server='station', rc='') as net:
        net.sports = itertools.count(7890)
        net.neighbour = net.station(net.inside, '10.0.0.3/24', via='10.0.0.1')
        yield net.boot()


@pytest.fixture(autouse=True)
def fresh(net):
    """Every test has its own firewall, and connections of its own."""
    net.gateway.sh(f'ipfwadm -A -f; ipfwadm -I -p accept; ipfwadm -O -p accept\n{MASQUERADING}ipportfw -C\n{RULES}')
    for station in net.client, net.server, net.neighbour:
        station.inbox.clear()


def asks(net, layer, client=None, seen=None):
    outer, inner = PORTS[layer]
    return Dialogue(client or net.client, net.server, next(net.sports), outer, inner, seen=seen, layer=layer)


# The table

def count(net, layer):
    """Rules that count each way a packet could look, in each chain and on each
    interface. Returns a function that tells the counters above zero since it
    was called last."""
    outer, inner = PORTS[layer]
    ends = {'C': '163.158.1.2', 'K': '10.0.0.3', 'L': f'194.160.1.1 {outer}', 'H': f'10.0.0.2 {inner}',
            'G': '194.160.1.1 1024:60999', 'I': '10.0.0.1 1024:60999'}
    ways = [f'{a} > {b}' for a in ends for b in ends if a != b and {a, b} & {'L', 'H'} and {a, b} - {'L', 'H'}]
    ways += [f'{a} > {b}' for a, b in ('CI', 'IC', 'CG', 'GC')]
    chains = {'I': '-a accept', 'O': '-a accept', 'F': '-a masquerade', 'A in': '-a', 'A out': '-a'}
    places = [(chain, device, way) for chain in chains for device in ('eth0', 'eth1', 'lo') for way in ways]
    script = 'ipfwadm -F -f\n'
    for chain, device, way in places:
        source, dest = (ends[end] for end in way.split(' > '))
        script += (f'ipfwadm -{chain} {chains[chain]} -W {device} -P {layer.__name__.lower()} '
                   f'-S {source} -D {dest}\n')
    net.gateway.put('/tmp/count', script)
    net.gateway.sh('. /tmp/count')

    def counted():
        found = {}
        for letter, table in ('I', 'input'), ('O', 'output'), ('F', 'forward'), ('A', 'acct'):
            lines = net.gateway.sh(f'cat /proc/net/ip_{table}; ipfwadm -{letter} -z').out.splitlines()[1:]
            mine = [place for place in places if place[0][0] == letter]
            assert len(lines) == len(mine)
            # In the order they were made, as the file has them.
            for place, line in zip(mine, lines):
                if packets := int(line.split()[6]):
                    found[place] = packets
        return found

    counted()
    return counted


@pytest.mark.parametrize('layer', [TCP, UDP], ids=['tcp', 'udp'])
def test_who_sees_what_of_a_client_outside(net, layer):
    counted, it = count(net, layer), asks(net, layer)
    it.inward('S')
    assert counted() == dict.fromkeys(INWARD, 1)
    it.outward('SA')
    assert counted() == dict.fromkeys(OUTWARD, 1)
    for _ in range(3):
        it.inward('A', b'more')
    assert counted() == dict.fromkeys(INWARD, 3)
    for _ in range(2):
        it.outward('A', b'more')
    assert counted() == dict.fromkeys(OUTWARD, 2)


@pytest.mark.parametrize('layer', [TCP, UDP], ids=['tcp', 'udp'])
def test_who_sees_what_of_a_client_in_the_servers_network(net, layer):
    counted, it = count(net, layer), asks(net, layer, net.neighbour, seen=('10.0.0.1', None))
    it.inward('S')
    assert counted() == dict.fromkeys(REFLECTED_INWARD, 1)
    it.outward('SA')
    assert counted() == dict.fromkeys(REFLECTED_OUTWARD, 1)
    for _ in range(3):
        it.inward('A', b'more')
    assert counted() == dict.fromkeys(REFLECTED_INWARD, 3)


def test_who_sees_what_of_the_gateway_itself(net):
    counted = count(net, TCP)
    sport = next(net.sports)
    nc = net.gateway.background(f'nc -p {sport} 194.160.1.1 80')
    syn = net.server.expect(TCP, src='194.160.1.1', sport=sport, dport=8000, flags='S')
    assert counted() == dict.fromkeys(OWN_INWARD, 1)
    net.server.send(IP(dst='194.160.1.1') / TCP(sport=8000, dport=sport, flags='RA', ack=syn.seq + 1))
    net.gateway.until(f'! test -d /proc/{nc}')
    assert counted() == dict.fromkeys(OWN_OUTWARD, 1)


def test_bytes_are_counted_with_the_packets(net):
    net.gateway.sh('ipfwadm -A in -a -P tcp -D 194.160.1.1 80; ipfwadm -A out -a -P tcp -S 194.160.1.1 80;'
                   'ipfwadm -A both -a -P tcp -D 10.0.0.2 8000')
    it = asks(net, TCP)
    it.open()
    for _ in range(4):
        it.inward('PA', b'x' * 60)
        it.outward('PA', b'y' * 160)
    packets = [line.split()[6:8] for line in net.gateway.sh('cat /proc/net/ip_acct').out.splitlines()[1:]]
    assert packets == [['6', str(2 * 40 + 4 * 100)], ['5', str(40 + 4 * 200)], ['6', str(2 * 40 + 4 * 100)]]


# What they say is done

def test_an_input_rule_denies_by_the_address_that_was_asked(net):
    net.gateway.sh('ipfwadm -I -a deny -P tcp -S 163.158.1.2 -D 194.160.1.1 80')
    it = asks(net, TCP)
    it.lost_inward('S')
    assert it.expires(net.gateway) is None
    assert net.client.inbox.only(TCP) == []
    net.gateway.sh('ipfwadm -I -f')
    it.inward('S')


def test_an_input_rule_about_the_host_inside_is_about_somebody_else(net):
    net.gateway.sh('ipfwadm -I -a deny -P tcp -D 10.0.0.2')
    asks(net, TCP).open().talk()


def test_an_open_connection_is_denied_too(net):
    it = asks(net, TCP).open()
    net.gateway.sh('ipfwadm -I -a deny -P tcp -D 194.160.1.1 80')
    it.lost_inward('PA', b'one')
    net.gateway.sh('ipfwadm -I -f; ipfwadm -I -a deny -P tcp -S 10.0.0.2 8000')
    it.lost_outward('PA', b'two')
    net.gateway.sh('ipfwadm -I -f')
    it.talk()


def test_only_the_beginning_of_connections_is_denied(net):
    it = asks(net, TCP).open()
    net.gateway.sh('ipfwadm -I -a deny -P tcp -y -D 194.160.1.1 80')
    it.talk()
    asks(net, TCP).lost_inward('S')
    it.talk()


def unreachable(station, sent, code, src, dst):
    """An ICMP error has come, from src, about the packet as it was sent."""
    error = station.expect(ICMP, type=3, code=code)
    lab.check_sums(error)
    quoted = IP(bytes(error[ICMP].payload))
    assert (error[IP].src, error[IP].dst) == (src, dst)
    assert (quoted.src, quoted.dst) == (sent[IP].src, sent[IP].dst)
    layer = TCP if TCP in sent else UDP
    assert bytes(quoted.payload)[:4] == bytes(sent[layer])[:4]


@pytest.mark.parametrize('layer', [TCP, UDP], ids=['tcp', 'udp'])
def test_an_input_rule_rejects(net, layer):
    net.gateway.sh(f'ipfwadm -I -a reject -P {layer.__name__.lower()} -D 194.160.1.1 {PORTS[layer][0]}')
    it = asks(net, layer)
    unreachable(net.client, it.send_inward('S'), 3, '194.160.1.1', '163.158.1.2')
    it.nothing_inward()
    assert it.expires(net.gateway) is None


def test_the_forward_chain_is_not_asked_about_packets_inward(net):
    net.gateway.sh('ipfwadm -F -f; ipfwadm -F -p deny')
    it = asks(net, TCP)
    it.inward('S')
    it.lost_outward('SA')


def test_the_forward_chain_may_deny_some_answers(net):
    net.gateway.sh('ipfwadm -F -i deny -P tcp -S 10.0.0.2 8000')
    it, other = asks(net, TCP), asks(net, UDP)
    it.inward('S')
    it.lost_outward('SA')
    other.inward()
    other.outward()


def test_the_forward_chain_rejects_answers(net):
    net.gateway.sh('ipfwadm -F -i reject -P tcp -S 10.0.0.2 8000')
    it = asks(net, TCP)
    it.inward('S')
    unreachable(net.server, it.send_outward('SA'), 1, '10.0.0.1', '10.0.0.2')
    net.client.expect_nothing('194.160.1.1', TCP)


def test_what_is_accepted_without_masquerading_is_not_rewritten(net):
    net.gateway.sh('ipfwadm -F -i accept -P tcp -S 10.0.0.2 8000')
    it = asks(net, TCP)
    it.inward('S')
    it.send_outward('SA')
    net.client.expect(TCP, src='10.0.0.2', sport=8000, dport=it.near[1])


def test_the_output_chain_denies_inward(net):
    net.gateway.sh('ipfwadm -O -a deny -P tcp -D 10.0.0.2 8000')
    asks(net, TCP).lost_inward('S')
    net.gateway.sh('ipfwadm -O -f; ipfwadm -O -a deny -P tcp -D 194.160.1.1')     # nobody looks like this there
    asks(net, TCP).open()


def test_the_output_chain_denies_outward(net):
    it = asks(net, TCP).open()
    net.gateway.sh('ipfwadm -O -a deny -P tcp -S 10.0.0.2')     # nor like this
    it.talk()
    net.gateway.sh('ipfwadm -O -a deny -P tcp -S 194.160.1.1 80')
    it.lost_outward('PA', b'secret')


@pytest.mark.parametrize('layer', [TCP, UDP], ids=['tcp', 'udp'])
def test_the_output_chain_rejects_inward(net, layer):
    """And nothing of the inside shows."""
    net.gateway.sh(f'ipfwadm -O -a reject -P {layer.__name__.lower()} -D 10.0.0.2')
    it = asks(net, layer)
    unreachable(net.client, it.send_inward('S'), 1, '194.160.1.1', '163.158.1.2')
    it.nothing_inward()


def test_the_output_chain_rejects_outward(net):
    it = asks(net, TCP).open()
    net.gateway.sh('ipfwadm -O -a reject -P tcp -S 194.160.1.1 80')
    it.lost_outward('PA', b'secret')
    assert net.client.inbox.only(ICMP, type=3) == []
