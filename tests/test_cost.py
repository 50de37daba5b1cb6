# SPDX-License-Identifier: GPL-2.0-only
"""What packets cost, in instructions, does not grow with connections or rules,
and is no concern of who forwards nothing. (`make bench` tells how much it is.)"""

import pytest

import cost
import crowd

NUMBER = 50                             # packets of a kind, the least of which counts
SAMPLE = 16                             # connections
SIZE = 18
GROWTH, TAX, WITHOUT_RULE = 1.05, 1.02, 10
DELIVERED = 15                          # instructions, of a way that is counted only up to the protocol's handler


def established(bench, ends):
    """What packets of open connections cost, on an average over some of these,
    by protocol and way."""
    ends = [ends[0], *ends[1::len(ends) // SAMPLE + 1]]
    costs = {}
    for protocol in cost.PORTS:
        for way, side, packets in (('inward', bench.client, cost.inward), ('outward', bench.server, cost.outward)):
            each = [bench.forwarded(side, [packet] * NUMBER).least for packet in packets(protocol, ends, SIZE)]
            costs[protocol, way] = sum(each) / len(each)
    return costs


def assert_no_growth(before, after):
    for what in before:
        assert after[what] <= before[what] * GROWTH, what


@pytest.fixture(scope='module')
def bench():
    with cost.Bench(memory=32, files={'/sbin/add_rules': crowd.program('add_rules')},
                    rules=cost.MASQUERADING + cost.LIMITS + cost.RULES) as bench:
        for protocol in cost.PORTS:
            cost.dial(bench, protocol, cost.clients(1))
        yield bench


@pytest.fixture(scope='module')
def alone(bench):
    """What one connection costs, with no other beside it."""
    return established(bench, list(cost.clients(1)))


@pytest.fixture(scope='module')
def stock():
    with cost.Bench('stock') as bench:
        return cost.foreign(bench, NUMBER, [SIZE])


def test_a_forwarded_packet_costs_what_plain_forwarding_does(alone, stock):
    for protocol in cost.PORTS:
        for way, most in ('in', 1.20), ('out', 1.35):
            assert alone[protocol, f'{way}ward'] <= stock[f'routed {way}', protocol, SIZE].least * most


def test_it_does_not_matter_how_long_a_packet_is(bench, alone):
    for protocol in cost.PORTS:
        long = bench.forwarded(bench.client, cost.inward(protocol, cost.clients(1), 1472) * NUMBER)
        assert long.least == alone[protocol, 'inward']


def test_rules_make_no_difference(bench, alone):
    bench.sh('add_rules 10000 998')
    assert_no_growth(alone, established(bench, list(cost.clients(1))))


def test_connections_make_no_difference(bench, alone):
    ends = list(cost.clients(5000))
    for protocol in cost.PORTS:
        cost.dial(bench, protocol, ends[1:])
    assert int(bench.sh('wc -l </proc/net/ip_masquerade').out) > 10_000
    assert_no_growth(alone, established(bench, ends))


CLIENTS = {'many ports of a proxy': [(crowd.aton('163.158.1.2'), 20_000 + n) for n in range(2000)],
           'one port of many addresses': [(crowd.aton(f'163.158.{n // 250}.{2 + n % 250}'), 1024) for n in range(2000)],
           'numbers that grow together': [(crowd.aton(f'163.158.{n // 250}.{2 + n % 250}'), 2000 + n)
                                          for n in range(2000)]}


def on_an_average(ends):
    """What an inward packet of any of these costs, to the least."""
    with cost.Bench(memory=32, rules=cost.MASQUERADING + cost.LIMITS + cost.RULES) as bench:
        bench.client.pour(cost.begins(17, ends), bench.server)
        costs = bench.forwarded(bench.client, cost.inward(17, ends, SIZE))
        return costs.mean / costs.least


@pytest.mark.parametrize('ends', CLIENTS.values(), ids=CLIENTS)
def test_clients_of_every_kind_are_spread(ends):
    """With one secret of some hundreds they are not: it may be drawn anew."""
    assert on_an_average(ends) <= GROWTH or on_an_average(ends) <= GROWTH


def test_packets_that_are_not_ours_cost_what_they_did(stock):
    with cost.Bench() as bench:
        without = cost.foreign(bench, NUMBER, [SIZE])
        bench.sh(cost.RULES)
        rules = cost.foreign(bench, NUMBER, [SIZE])
    for what, before in stock.items():
        assert without[what].least <= before.least + WITHOUT_RULE, what
        most = before.least + DELIVERED if what[0] == 'delivered' else before.least * TAX
        assert rules[what].least <= most, what
