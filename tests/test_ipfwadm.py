# SPDX-License-Identifier: GPL-2.0-only
"""The machines' ipfwadm: what it sets is what the kernel then does, and what it
lists is what is set."""

import re

import pytest

import lab
from lab import ICMP, IP, TCP, UDP, loop

HEADING = 'type  prot source               destination          ports\n'


@pytest.fixture(scope='module')
def net():
    with lab.example(server='station', rc='') as net:
        yield net.boot()


@pytest.fixture(autouse=True)
def clean(net):
    net.gateway.sh('for c in I O F; do ipfwadm -$c -f; ipfwadm -$c -p accept; done; ipfwadm -A -f')
    net.client.inbox.clear()
    net.server.inbox.clear()


@pytest.fixture
def fw(net):
    """Runs ipfwadm with these arguments, and returns what it printed."""
    return lambda arguments: net.gateway.sh(f'ipfwadm {arguments}').out


def rules(fw, chain):
    """The lines of a listing below its heading."""
    return fw(f'-{chain} -l -n').splitlines()[2:]


# How packets travel

def inward(net, packet):
    """Have the client send a packet to the server, by way of the gateway."""
    net.client.send(IP(dst=lab.SERVER) / packet, to=lab.OUTSIDE)


def outward(net, packet):
    net.server.send(IP(dst=lab.CLIENT) / packet)


def comes_in(net, packet):
    """A packet of the client comes to the server, as it was sent."""
    inward(net, packet)
    got = net.server.expect(type(packet), **packet.fields)
    assert (got[IP].src, got[IP].dst, got[IP].ttl) == (lab.CLIENT, lab.SERVER, 63)
    lab.check_sums(got)


def stays_out(net, packet):
    inward(net, packet)
    net.client.ping(lab.OUTSIDE)
    net.server.expect_nothing(lab.INSIDE, type(packet), **packet.fields)


def goes_out(net, packet):
    """A packet of the server comes to the client; returns it."""
    outward(net, packet)
    return net.client.expect(type(packet), dport=packet.dport)


def stays_in(net, packet):
    outward(net, packet)
    net.server.ping(lab.INSIDE)
    net.client.expect_nothing(lab.OUTSIDE, type(packet), dport=packet.dport)


# The lists

@pytest.mark.parametrize('chain', 'IOFA')
def test_rules_are_appended_inserted_deleted_and_flushed(fw, chain):
    policy = '' if chain == 'A' else 'accept'
    words = '    0     0 i/o ' if chain == 'A' else 'acc   '

    def rule(net):
        return f'{words}all  {net:20} 0.0.0.0/0            n/a'

    one, two, three = '10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'
    fw(f'-{chain} -a {policy} -S {one} -D 0/0')
    fw(f'-{chain} -a {policy} -S {two} -D 0/0')
    assert rules(fw, chain) == [rule(one), rule(two)]
    fw(f'-{chain} -i {policy} -S {three} -D 0/0')
    assert rules(fw, chain) == [rule(three), rule(one), rule(two)]
    fw(f'-{chain} -d {policy} -S {one} -D 0/0')
    assert rules(fw, chain) == [rule(three), rule(two)]
    fw(f'-{chain} -f')
    assert rules(fw, chain) == []


def test_each_chain_is_its_own(fw):
    for number, chain in enumerate('IOF'):
        fw(f'-{chain} -a deny -S 10.0.{number}.0/24')
    fw('-A -a -S 10.0.3.0/24')
    for number, chain in enumerate('IOFA'):
        line, = rules(fw, chain)
        assert f'10.0.{number}.0/24' in line
    fw('-O -f')
    assert [len(rules(fw, chain)) for chain in 'IOFA'] == [1, 0, 1, 1]


@pytest.mark.parametrize('word, name, type_', [
    ('accept', 'accept', 'acc'), ('acc', 'accept', 'acc'), ('a', 'accept', 'acc'),
    ('deny', 'deny', 'deny'), ('d', 'deny', 'deny'), ('reject', 'reject', 'rej'), ('rej', 'reject', 'rej'),
    ('masquerade', 'accept/masquerade', 'acc/m'), ('m', 'accept/masquerade', 'acc/m'),
])
def test_policies_may_be_shortened(fw, word, name, type_):
    fw(f'-F -p {word}')
    fw(f'-F -a {word} -S 10.0.0.0/8')
    assert fw('-F -l') == (f'IP firewall forward rules, default policy: {name}\n{HEADING}'
                           f'{type_:5} all  10.0.0.0/8           anywhere             n/a\n')
    fw(f'-F -d {word} -S 10.0.0.0/8')
    assert rules(fw, 'F') == []


def test_lists_column_for_column(fw):
    fw('-F -p deny')
    fw('-F -a m -S 10.0.0.0/8 -D 0.0.0.0/0')
    fw('-F -a acc -P tcp -S 10.0.0.0/8 -D 192.168.0.0/16 80')
    assert fw('-F -l -n') == (
        'IP firewall forward rules, default policy: deny\n'
        'type  prot source               destination          ports\n'
        'acc/m all  10.0.0.0/8           0.0.0.0/0            n/a\n'
        'acc   tcp  10.0.0.0/8           192.168.0.0/16       * -> 80\n')
    assert fw('-F -l') == (
        'IP firewall forward rules, default policy: deny\n'
        'type  prot source               destination          ports\n'
        'acc/m all  10.0.0.0/8           anywhere             n/a\n'
        'acc   tcp  10.0.0.0/8           192.168.0.0/16       any -> http\n')


def test_all_that_a_rule_can_say(net, fw):
    fw('-I -a deny -P udp -S 10.0.0.2 1000:2000 53 -D 192.168.0.0/255.255.0.255 domain 99 -W eth1 -V 194.160.1.1 -b -o')
    fw('-I -a rej -P tcp -S any -D 127.0.0.1 www -y')
    fw('-I -i acc -P icmp -S 10.0.0.0/24 8 0 -t 01 10')
    fw('-I -a acc -P tcp -k')
    assert fw('-I -l -e') == (
        'IP firewall input rules, default policy: accept\n'
        ' pkts bytes type  prot opt  tosa tosx ifname  ifaddress       source               destination          ports\n'
        '    0     0 acc   icmp ---- 0x01 0x10 any     any             10.0.0.0/24          anywhere             8,0\n'
        '    0     0 deny  udp  b--o 0xFF 0x00 eth1    194.160.1.1     10.0.0.2             '
        '192.168.0.0/255.255.0.255 1000:2000,domain -> domain,99\n'
        '    0     0 rej   tcp  --y- 0xFF 0x00 any     any             anywhere             '
        'localhost            any -> http\n'
        '    0     0 acc   tcp  -k-- 0xFF 0x00 any     any             anywhere             '
        'anywhere             any -> any\n')
    # The kernel has it as it was meant: not only is the listing as it was set.
    table = [line.split() for line in net.gateway.sh('cat /proc/net/ip_input').out.splitlines()[1:]]
    assert table[1][:5] == ['0A000002/FFFFFFFF->C0A80000/FFFF00FF', 'eth1', 'C2A00101', '6A', '3']
    assert table[1][5] == '2' and table[1][8:13] == ['1000', '2000', '53', '53', '99']


def test_accounting_lists_column_for_column(fw):
    fw('-A in -a -P tcp -D 10.0.0.2 80 -y')
    fw('-A out -a -P udp -S 10.0.0.2')
    fw('-A both -a -S 10.0.0.2 -W eth0')
    assert fw('-A -l') == (
        'IP accounting rules\n'
        ' pkts bytes dir prot source               destination          ports\n'
        '    0     0 in  tcp  anywhere             10.0.0.2             any -> http\n'
        '    0     0 out udp  10.0.0.2             anywhere             any -> any\n'
        '    0     0 i/o all  10.0.0.2             anywhere             n/a\n')
    assert fw('-A -l -e -n -x') == (
        'IP accounting rules\n'
        '    pkts    bytes dir prot opt  ifname  ifaddress       source               destination          ports\n'
        '       0        0 in  tcp  --y- *       0.0.0.0         0.0.0.0/0            10.0.0.2             * -> 80\n'
        '       0        0 out udp  ---- *       0.0.0.0         10.0.0.2             0.0.0.0/0            * -> *\n'
        '       0        0 i/o all  ---- eth0    0.0.0.0         10.0.0.2             0.0.0.0/0            n/a\n')


def test_a_long_list_is_whole(net, fw):
    """The kernel hands it out a page at a time."""
    net.gateway.sh('i=0; while [ $i -lt 200 ]; do ipfwadm -O -a acc -P udp -D 10.9.0.0/16 $i; i=$((i+1)); done')
    assert rules(fw, 'O') == [f'acc   udp  0.0.0.0/0            10.9.0.0/16          * -> {port}' for port in range(200)]


# What rules do

def test_accept_lets_through(net, fw):
    for chain in 'IFO':
        fw(f'-{chain} -p deny')
        fw(f'-{chain} -a acc -P udp -S {lab.CLIENT} -D {lab.SERVER}')
    # so that we may ask whether it has dealt with a packet
    fw('-I -a acc -P icmp')
    fw('-O -a acc -P icmp')
    comes_in(net, UDP(sport=1, dport=9))
    stays_out(net, TCP(sport=1, dport=9, flags='S'))


@pytest.mark.parametrize('chain', 'IFO')
def test_deny_drops(net, fw, chain):
    comes_in(net, UDP(sport=2, dport=9))
    fw(f'-{chain} -a deny -P udp -D {lab.SERVER} 9')
    stays_out(net, UDP(sport=2, dport=9))
    assert not net.client.inbox.only(ICMP, type=3)
    comes_in(net, UDP(sport=2, dport=10))
    fw(f'-{chain} -d deny -P udp -D {lab.SERVER} 9')
    comes_in(net, UDP(sport=2, dport=9))


@pytest.mark.parametrize('chain', 'IFO')
def test_reject_says_so(net, fw, chain):
    fw(f'-{chain} -a reject -P udp -D {lab.SERVER} 9')
    stays_out(net, UDP(sport=3, dport=9) / b'refuse me')
    said = net.client.expect(ICMP, type=3)
    assert said[IP].src == lab.OUTSIDE
    quoted = said[ICMP].payload
    assert (quoted.src, quoted.dst, quoted.sport, quoted.dport) == (lab.CLIENT, lab.SERVER, 3, 9)
    lab.check_sums(said)


def test_policy_deny_is_for_what_no_rule_is_about(net, fw):
    fw('-F -p deny')
    fw(f'-F -a acc -P udp -D {lab.SERVER} 9')
    comes_in(net, UDP(sport=4, dport=9))
    stays_out(net, UDP(sport=4, dport=10))
    fw('-F -p reject')
    stays_out(net, UDP(sport=4, dport=10))
    net.client.expect(ICMP, type=3)


def test_the_first_rule_that_fits_decides(net, fw):
    fw('-F -a deny -P udp')
    fw('-F -a acc -P udp')
    stays_out(net, UDP(sport=5, dport=9))
    fw('-F -i acc -P udp')
    comes_in(net, UDP(sport=5, dport=9))


@pytest.mark.parametrize('how', ['-a m -S 10.0.0.0/8 -D 0/0', '-a acc -m -S 10.0.0.0/8', '-p m'])
def test_masquerade_masquerades(net, fw, how):
    sport = 6000 + len(how)
    plain = goes_out(net, UDP(sport=sport, dport=53) / b'who am I?')
    assert (plain[IP].src, plain.sport) == (lab.SERVER, sport)
    fw(f'-F {how}')
    seen = goes_out(net, UDP(sport=sport, dport=53) / b'who am I?')
    assert seen[IP].src == lab.OUTSIDE and 61000 <= seen.sport < 65096
    lab.check_sums(seen)
    net.client.send(IP(dst=lab.OUTSIDE) / UDP(sport=53, dport=seen.sport) / b'you')
    answer = net.server.expect(UDP, sport=53, dport=sport)
    assert (answer[IP].src, answer[IP].dst) == (lab.CLIENT, lab.SERVER)


def test_y_is_for_the_first_packet_of_a_connection(net, fw):
    fw('-I -a deny -P tcp -y')
    stays_out(net, TCP(sport=7, dport=80, flags='S'))
    for flags in 'A', 'SA', 'PA', 'FA', 'R':
        comes_in(net, TCP(sport=7, dport=80, flags=flags))


def test_k_is_for_all_but_the_first(net, fw):
    fw('-I -a deny -P tcp -k')
    comes_in(net, TCP(sport=8, dport=80, flags='S'))
    for flags in 'A', 'SA', 'PA', 'FA':
        stays_out(net, TCP(sport=8, dport=80, flags=flags))


@pytest.mark.parametrize('interface', ['-W eth1', f'-V {lab.OUTSIDE}'])
def test_a_rule_for_one_interface(net, fw, interface):
    fw(f'-I -a deny -P udp {interface}')
    stays_out(net, UDP(sport=9, dport=9))
    goes_out(net, UDP(sport=9, dport=9))


def test_b_is_for_both_ways(net, fw):
    rule = f'deny -P udp -S {lab.CLIENT} 100 -D {lab.SERVER} 200'
    fw(f'-F -a {rule}')
    stays_out(net, UDP(sport=100, dport=200))
    goes_out(net, UDP(sport=200, dport=100))
    fw(f'-F -d {rule}')
    fw(f'-F -a {rule} -b')
    stays_out(net, UDP(sport=100, dport=200))
    stays_in(net, UDP(sport=200, dport=100))
    goes_out(net, UDP(sport=100, dport=200))


def test_ports_and_ranges(net, fw):
    fw('-F -a deny -P udp -S 0/0 1000:1010 2000 -D 0/0 domain 99')
    for sport, dport, passes in ((999, 53, True), (1000, 53, False), (1010, 99, False), (1011, 53, True),
                                 (2000, 99, False), (1005, 54, True)):
        (comes_in if passes else stays_out)(net, UDP(sport=sport, dport=dport))


def test_networks(net, fw):
    for network, passes in ((f'{lab.CLIENT}/24', False), ('163.158.0.0/255.255.0.0', False), (lab.CLIENT, False),
                            ('163.158.1.0/31', True), ('163.158.1.3', True), ('any', False)):
        fw(f'-F -i deny -P udp -S {network}')
        (comes_in if passes else stays_out)(net, UDP(sport=11, dport=9))
        fw('-F -f')


def test_icmp_types(net, fw):
    fw('-F -a deny -P icmp -S 0/0 8')
    stays_out(net, ICMP(type=8, id=12))
    comes_in(net, ICMP(type=13, id=12))


def test_t_changes_the_type_of_service(net, fw):
    fw('-I -a acc -P udp -D 0/0 9 -t 01 10')
    inward(net, UDP(sport=13, dport=9))
    assert net.server.expect(UDP, sport=13)[IP].tos == 0x10
    inward(net, UDP(sport=13, dport=10))
    assert net.server.expect(UDP, sport=13)[IP].tos == 0


@pytest.mark.parametrize('chain, name', [('I', 'fw-in'), ('F', 'fw-fwd'), ('O', 'fw-out')])
def test_o_logs(net, fw, chain, name):
    fw(f'-{chain} -a deny -P udp -D {lab.SERVER} 9')
    stays_out(net, UDP(sport=1400, dport=9))
    fw(f'-{chain} -i deny -P udp -D {lab.SERVER} 9 -o')
    stays_out(net, UDP(sport=1401, dport=9))
    wanted = re.compile(rf'IP {name} deny eth\d UDP 163.158.1.2:1401 10.0.0.2:9 ')
    loop.wait(lambda: wanted.search(net.gateway.console()), 30, f'log of {name}', poll=0.1)
    assert f'IP {name} deny eth1 UDP 163.158.1.2:1400 ' not in net.gateway.console()


def test_accounting_counts(net, fw):
    for words in f'in -a -P udp -D {lab.SERVER} 9', f'out -a -P udp -D {lab.SERVER} 9', f'-a -P udp -D {lab.SERVER} 9':
        fw(f'-A {words}')
    fw(f'-A -a -P tcp -D {lab.SERVER}')
    for size in 0, 10, 1000:
        comes_in(net, UDP(sport=15, dport=9) / bytes(size))
    comes_in(net, UDP(sport=15, dport=10))

    def counts():
        return [tuple(map(int, line.split()[:2])) for line in fw('-A -l -n -x').splitlines()[2:]]

    bytes_ = 3 * 28 + 1010
    assert counts() == [(3, bytes_), (3, bytes_), (6, 2 * bytes_), (0, 0)]
    assert fw('-A -l -z').count('    3  1094 ') == 2
    assert counts() == [(0, 0)] * 4
    comes_in(net, UDP(sport=15, dport=9))
    assert counts()[0] == (1, 28)
    fw('-A -z')
    assert counts() == [(0, 0)] * 4


def test_firewall_rules_count_too(net, fw):
    fw(f'-F -a deny -P udp -D {lab.SERVER} 9')
    stays_out(net, UDP(sport=16, dport=9) / bytes(100))
    assert fw('-F -l -e -x').splitlines()[2].split()[:2] == ['1', '128']


def test_c_checks_a_packet(fw):
    ask = f'-I -c -P udp -S {lab.CLIENT} 7 -D {lab.SERVER} 9 -V {lab.OUTSIDE} -W eth1'
    for policy, verdict in (('acc', 'accepted'), ('deny', 'denied'), ('rej', 'rejected')):
        fw(f'-I -p {policy}')
        assert fw(ask) == f'packet {verdict}\n'
    fw(f'-F -a m -S {lab.CLIENT}')
    assert fw(ask.replace('-I', '-F')) == 'packet masqueraded\n'


# Masqueraded connections

def test_masqueraded_connections_column_for_column(net, fw):
    fw('-F -a m -S 10.0.0.0/8')
    port = goes_out(net, UDP(sport=17, dport=53)).sport
    for numeric, name in (' -n', '53'), ('', 'domain'):
        lines = fw(f'-M -l{numeric}').splitlines()
        assert lines[:2] == ['IP masquerading entries',
                             'prot expire   source               destination          ports']
        line, = (line for line in lines if f'({port})' in line)
        assert re.fullmatch(rf'udp  0[45]:\d\d\.\d\d 10\.0\.0\.2             163\.158\.1\.2          '
                            rf'17 \({port}\) -> {name}', line), line


def test_a_long_list_of_connections_is_whole(net, fw):
    fw('-F -a m -S 10.0.0.0/8')
    ports = list(range(20_000, 20_150))
    for port in ports:
        goes_out(net, UDP(sport=port, dport=port))
    listed = re.findall(r'\n.*? (2\d{4}) \(\d+\) -> (2\d{4})', fw('-M -l -n'))
    assert sorted(listed) == [(str(port), str(port)) for port in ports]


def test_timeouts_of_connections(net, fw):
    fw('-F -a m -S 10.0.0.0/8')

    def seconds(packet):
        goes_out(net, packet)
        line, = (line for line in fw('-M -l -n').splitlines() if f' {packet.sport} (' in line)
        minutes, rest = line.split()[1].split(':')
        return 60 * int(minutes) + float(rest)

    try:
        fw('-M -s 100 20 30')
        assert 90 < seconds(TCP(sport=18, dport=80, flags='S')) <= 100
        assert 25 < seconds(UDP(sport=21, dport=80)) <= 30
        # It is over once both have said so.
        goes_out(net, TCP(sport=19, dport=80, flags='S'))
        port = goes_out(net, TCP(sport=19, dport=80, flags='FA')).sport
        net.client.send(IP(dst=lab.OUTSIDE) / TCP(sport=80, dport=port, flags='FA'))
        net.server.expect(TCP, dport=19)
        assert 15 < seconds(TCP(sport=19, dport=80, flags='A')) <= 20
        # 0 keeps what is set.
        fw('-M -s 0 0 50')
        assert 45 < seconds(UDP(sport=20, dport=80)) <= 50
        assert 90 < seconds(TCP(sport=22, dport=80, flags='S')) <= 100
    finally:
        fw('-M -s 900 120 300')


# Bad input

BAD = {
    '': 'no category', '-l': 'no category', '-X -l': 'unknown option -X', '-I': 'no command',
    '-I -F -l': '-I and -F', '-I -l -f': '-l and -f', '-I -l more': "'more'", '-I -f -z': '-z',
    '-I -q': 'unknown option -q', '-I -s 1 2 3': '-I has no -s', '-M -f': '-M has no -f', '-A -p acc': '-A has no -p',
    '-I -a': 'policy', '-I -a foo': "policy 'foo'", '-I -p': 'policy', "-I -p ''": 'policy',
    '-I -a accepted': "policy 'accepted'", '-I -p m': 'forward', '-O -a m': 'forward', '-I -a acc -m': 'forward',
    '-F -a deny -m': '-m', '-A -a acc': 'no policy', '-A up -a': "direction 'up'",
    '-I -a acc -P': '-P', '-I -a acc -P tpc': "protocol 'tpc'",
    '-I -a acc -S': '-S', '-I -a acc -S 1.2.3': "'1.2.3'", '-I -a acc -S 1.2.3.256': "'1.2.3.256'",
    '-I -a acc -S 1.2.3.4.5': "'1.2.3.4.5'", '-I -a acc -S 1.2.3.4/33': "mask '33'",
    '-I -a acc -S 1.2.3.4/255.0': "mask '255.0'", '-I -a acc -S 1.2.3.4/': 'mask',
    '-I -a acc -S no.such.host': "'no.such.host'", '-I -a acc -S 1.2.3.4 -S 1.2.3.5': 'twice',
    '-I -a acc -P tcp -S 1.2.3.4 65536': "port '65536'", '-I -a acc -P tcp -S 1.2.3.4 8x': "port '8x'",
    '-I -a acc -P tcp -D 1.2.3.4 nosuch': "port 'nosuch'", '-I -a acc -P tcp -D 1.2.3.4 9:8': '9:8',
    '-I -a acc -P tcp -D 1.2.3.4 1 2:3': '2:3', '-I -a acc -P tcp -D 1.2.3.4 1 2 3 4 5 6 7 8 9 10 11': '10 ports',
    '-I -a acc -P tcp -S 1.2.3.4 1:2 3 4 5 6 -D 1.2.3.4 1 2 3 4 5': '10 ports',
    '-I -a acc -S 1.2.3.4 80': '-P tcp', '-I -a acc -P icmp -D 1.2.3.4 8': 'ICMP', '-I -a acc -P icmp -S 0/0 256': '256',
    '-I -a acc -V': '-V', '-I -a acc -V 1.2': "'1.2'", '-I -a acc -W': '-W', '-I -a acc -W longer-than-it-may': '-W|letters',
    '-I -a acc -y': '-P tcp', '-I -a acc -P udp -k': '-P tcp', '-I -a acc -t 1': '-t', '-I -a acc -t 100 0': '-t',
    '-O -a acc -P tcp -r 80': '-r', '-I -a acc -r 80': '-r', '-I -c -P tcp': '-c needs',
    '-I -d deny -P tcp -D 10.0.0.2 81': 'no such rule', '-A -d -S 10.0.0.7': 'no such rule',
    '-M -s': '-s', '-M -s 1 2': '-s', '-M -s 1 2 x': "'x'", '-M -s 1 2 -3': '-s', '-M -l -z': '-z',
}


@pytest.mark.parametrize('arguments', BAD)
def test_bad_input_changes_nothing(net, arguments):
    net.gateway.sh('for c in I O F; do ipfwadm -$c -a deny -P tcp -D 10.0.0.2 80; ipfwadm -$c -p deny; done; '
                   'ipfwadm -A -a -S 10.0.0.2')
    tables = 'cd /proc/net; cat ip_input ip_output ip_forward ip_acct'
    before = net.gateway.sh(tables).out
    result = net.gateway.sh(f'ipfwadm {arguments}', check=False)
    assert result.status == 1 and result.out == '', result
    line, = result.err.splitlines()
    assert line.startswith('ipfwadm: ') and re.search(BAD[arguments], line), line
    assert net.gateway.sh(tables).out == before and before.count('0A000002') == 4


def test_h_helps(fw):
    text = fw('-h')
    assert all(re.search(rf'-{letter}\b', text) for letter in 'AIOFMaidplzfscPSDVWbkymortenx')
