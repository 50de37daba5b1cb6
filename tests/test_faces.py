# SPDX-License-Identifier: GPL-2.0-only
"""The two faces, setsockopt and /proc, under calls of all kinds, changes all
the time, and reads of all sizes."""

import os
import random
import re

import pytest

import lab
from crowd import Crowd, Honest, aton, echo, program, tcp, udp, SYN
from lab.network import MASQUERADING

CALLS = 20_000
SEED = int(os.environ.get('FUZZ_SEED') or random.SystemRandom().getrandbits(31))
RULES = ['TCP 194.160.1.1/80 > 10.0.0.2/80', 'UDP 194.160.1.1/525 > 10.0.0.2/525']
RC = MASQUERADING + ''.join(f'ipportfw -A -{p[0].lower()} {a} -R {b}\n' for p, a, _, b in map(str.split, RULES))
EVERYTHING = ('cat /proc/net/ip_portfw /proc/net/ip_portfw_limits /proc/net/ip_input /proc/net/ip_output '
              '/proc/net/ip_forward /proc/net/ip_acct /proc/net/ip_masquerade')
GATEWAY = aton(lab.OUTSIDE)


@pytest.fixture(scope='module')
def net(namespaces):
    with lab.example(server='host', client='host', nic='tulip', rc=RC, via='163.158.1.9', memory=32,
                     files={'/bin/rules': program('rules')}) as net:
        net.world = Crowd(net, net.outside, '163.158.1.9/24', lab.OUTSIDE)
        echo(net.server)
        yield net.boot()
        net.world.close()


@pytest.fixture(autouse=True)
def example_rules(net):
    yield
    for chain in 'IOFA':
        net.gateway.sh(f'ipfwadm -{chain} -f' + (f'; ipfwadm -{chain} -p accept' if chain != 'A' else ''))
    net.gateway.sh('ipportfw -C; ' + RC)


def table(net):
    return net.gateway.sh('ipportfw -L').out.splitlines()[1:]


def test_random_calls_of_root(net):
    """The errno of each call, and in the end the table, are what they should be."""
    print(f'FUZZ_SEED={SEED} repeats this')
    net.gateway.sh('ipportfw -C')
    for seed in range(SEED, SEED + 4):
        net.gateway.sh('ipportfw -C')
        wanted = net.gateway.sh(f'rules calls {seed} {CALLS // 4}', timeout=120).out
        assert net.gateway.sh('cat /proc/net/ip_portfw').out[64:] == wanted
    assert wanted


def test_random_calls_of_another(net):
    print(f'FUZZ_SEED={SEED} repeats this')
    before = net.gateway.sh(EVERYTHING).out
    assert all(rule in before for rule in RULES)
    assert net.gateway.sh(f'rules calls {SEED} {CALLS} user', timeout=120).out == ''
    assert net.gateway.sh(EVERYTHING).out == before


@pytest.mark.parametrize('rules', [0, 1, 2000, 10_000])
@pytest.mark.parametrize('size', [1, 7, 63, 64, 65, 4096])
def test_a_listing_while_rules_change(net, rules, size):
    result = net.gateway.sh(f'rules listing {SEED} {rules} {size}', timeout=300, check=False)
    assert result.status == 0, (SEED, result.out)


def test_all_at_once(net):
    """One edits, one lists and edits, and traffic goes on."""
    honest = [Honest(net.client, 80), Honest(net.client, 80, again=True)]
    changing = net.gateway.background(f'rules churn {SEED}', '/tmp/edits')
    head = net.world.ethernet()
    for size in (7, 64, 4096):
        net.world.pour(head + tcp(aton('1.2.3.4'), 1 + n, GATEWAY, 80, SYN) for n in range(5000))
        result = net.gateway.sh(f'rules listing {SEED} 300 {size}', timeout=300, check=False)
        assert result.status == 0, (SEED, result.out)
    for one in honest:
        one.stop()
    net.gateway.sh(f'kill {changing}')
    net.gateway.until('test -s /tmp/edits')
    assert int(net.gateway.sh('cat /tmp/edits').out) > 200
    assert table(net) == RULES


def test_all_connections_are_listed(net):
    """Thousands, read in pieces of any size: each is there once."""
    clients = [(bytes([1 + n % 9, 2, n >> 8, n & 255]), 1024 + n * 7) for n in range(3000)]
    net.gateway.sh('ipfwadm -M -s 900 900 900')
    for _ in range(2):      # some may have got lost
        net.world.pour(net.world.ethernet() + udp(source, port, GATEWAY, 525, b'hello') for source, port in clients)
    net.world.settle()
    wanted = sorted(f'UDP 0A000002:020D {source.hex().upper()}:{port:04X} 020D 00000000      0      0'
                    for source, port in clients)
    for size in 7, 63, 64, 128, 129, 4096, 65536:
        text = net.gateway.sh(f'dd if=/proc/net/ip_masquerade bs={size} 2>/dev/null', timeout=300).out
        assert len(text) % 128 == 0 and all(text[n] == '\n' for n in range(127, len(text), 128))
        lines = [line for line in text.splitlines()[1:] if line.startswith('UDP')]
        assert sorted(line[:59] for line in lines) == wanted, size
    assert all(re.fullmatch(r' +\d+ *', line[59:]) for line in lines)
