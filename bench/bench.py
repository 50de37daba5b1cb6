# SPDX-License-Identifier: GPL-2.0-only
"""Measures what Documentation/performance.md shows: prints the tables, and
writes them and the plot there."""

import itertools

import matplotlib

import cost
import crowd
import functions
import lab
import memory
import relay
from cost import Bench

CONNECTIONS = 1, 10, 100, 1000, 10_000, 60_000
RULES = 1, 100, 10_000
WAYS = {'inward': 'routed in', 'outward': 'routed out'}
PAGE = lab.TOP / 'Documentation/performance.md'
PLOT = PAGE.with_suffix('.svg')
BEGIN, END = '<!-- written by "make bench": begin -->\n', '<!-- end -->\n'

# Of 1997's patch, on 2.0.39: connections -> instructions inward and outward of
# an 18-byte UDP payload. Measured apart, with an older checksum routine, and
# plain forwarding at 1,074.
ORIGINAL = {1: (1329, 1613), 10: (1448, 1750), 100: (2618, 3100), 1000: (14318, 16600), 4000: (53318, 61600)}


class Table:
    """Rows of words, the first the head."""

    def __init__(self, title, *head):
        self.title, self.rows = title, [head]

    def add(self, *row):
        self.rows.append(tuple(map(str, row)))

    def __str__(self):
        widths = [max(map(len, column)) for column in zip(*self.rows)]
        lines = ['| ' + ' | '.join(word.ljust(width) for word, width in zip(row, widths)) + ' |' for row in self.rows]
        lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
        return f'### {self.title}\n\n' + '\n'.join(lines) + '\n'


aims = Table('What was aimed at, and the most that it is', 'figure', 'aim', 'measured')


def aim(what, most, measured):
    aims.add(what, most, measured)


def most(costs, others, part='least'):
    """The greatest ratio of one of these to the other of the same key."""
    return f'{max(getattr(costs[key], part) / getattr(others[key], part) for key in costs):.3f}'


def instructions(cost):
    return f'{cost.least:,} ({cost.mean:,.1f})'


def ratios(costs, others):
    """How many times the others, from the least to the most."""
    numbers = sorted(f'{cost.least / other.least:.3f}' for cost, other in zip(costs, others))
    return numbers[0] if numbers[0] == numbers[-1] else f'{numbers[0]} – {numbers[-1]}'


def established(bench, ends, protocols=cost.PORTS):
    """The Costs of open connections' packets: (way, protocol, size) -> Cost."""
    costs = {}
    for protocol, size in itertools.product(protocols, cost.SIZES):
        for way, side, packets in (('inward', bench.client, cost.inward), ('outward', bench.server, cost.outward)):
            costs[way, protocol, size] = bench.forwarded(side, packets(protocol, ends, size))
    return costs


def add_rows(table, what, costs, others, names=None):
    """One row for each way and protocol: its sizes, and their ratios."""
    for way, protocol in dict.fromkeys((way, protocol) for way, protocol, _ in costs):
        mine = [costs[way, protocol, size] for size in cost.SIZES]
        theirs = [others[(names or {}).get(way, way), protocol, size] for size in cost.SIZES]
        table.add(*what, way, cost.NAMES[protocol], *map(instructions, mine), ratios(mine, theirs))


SIZES = [f'{size} bytes' for size in cost.SIZES]


def foreign():
    """Everybody else's packets: without the patch, without a rule, with rules."""
    def measured(flavour, rules=''):
        with Bench(flavour) as bench:
            bench.sh(rules + ':')
            return cost.foreign(bench)

    stock, without, rules = measured('stock'), measured('on'), measured('on', cost.RULES)
    table = Table('Packets that are not ours', 'gateway', 'way', 'protocol', *SIZES, 'to stock')
    for name, costs in ('stock', stock), ('patched, no rule', without), ('patched, rules', rules):
        add_rows(table, [name], costs, stock)
    for where, chosen in (('forwarded', lambda way: way not in ('delivered', 'and answered')),
                          ('delivered and answered', lambda way: way == 'and answered'),
                          ('delivered, up to TCP or UDP', lambda way: way == 'delivered')):
        keys = [key for key in stock if chosen(key[0])]
        aim(f'not ours, {where}, with rules: to stock', '1.02', most({key: rules[key] for key in keys}, stock))
        aim(f'not ours, {where}, without a rule: more than stock', '10',
            max(without[key].least - stock[key].least for key in keys))
    return stock, table


def by_connections(stock):
    """The same port with more and more connections."""
    table = Table('Forwarded, by connections on one port', 'connections', 'way', 'protocol', *SIZES,
                  'to plain forwarding')
    first = Table('The first packet of a connection', 'connections before', 'protocol', '18 bytes, or a SYN',
                  'to plain forwarding')
    curve = {}
    for protocol in cost.PORTS:
        with Bench(memory=32) as bench:
            bench.sh(cost.RULES + cost.LIMITS)
            have = 0
            for number in CONNECTIONS:
                cost.dial(bench, protocol, cost.clients(number - have, have))
                have = number
                ends = list(cost.clients(number))
                costs = established(bench, cost.some(ends), [protocol])
                add_rows(table, [f'{number:,}'], costs, stock, WAYS)
                curve[protocol, number] = costs
                if number in (CONNECTIONS[0], CONNECTIONS[-1]):
                    costs = bench.forwarded(bench.client, cost.begins(protocol, cost.clients(1000, have + 1000)))
                    first.add(f'{number:,}', cost.NAMES[protocol], instructions(costs),
                              ratios([costs], [stock['routed in', protocol, 18]]))
                    if number == CONNECTIONS[0]:
                        # those who only knocked give way before they could be counted
                        bench.sh('echo half_open 1 >/proc/net/ip_portfw_limits\n' + cost.LIMITS)
            held = int(bench.sh('wc -l </proc/net/ip_masquerade').out) - 1
            if held < CONNECTIONS[-1]:
                raise lab.LabError(f'{held} connections are there, not {CONNECTIONS[-1]}')
            aim(f'{cost.NAMES[protocol]} connections at once in 32 MB', f'{CONNECTIONS[-1]:,}', f'{held:,}')
    for (way, plain), bound in zip(WAYS.items(), ('1.20', '1.35')):
        costs = {key: cost for costs in curve.values() for key, cost in costs.items() if key[0] == way}
        aim(f'{way}, established, any size: to plain forwarding', bound,
            most(costs, {key: stock[plain, *key[1:]] for key in costs}))
    for part in 'least', 'mean':
        one, all_ = ({key: costs for protocol in cost.PORTS for key, costs in curve[protocol, number].items()}
                     for number in (CONNECTIONS[0], CONNECTIONS[-1]))
        aim(f'growth from 1 to {CONNECTIONS[-1]:,} connections, of the {part}', '1.05', most(all_, one, part))
    return curve, [table, first]


def by_rules(stock):
    """Connections of the example's rules among more and more others."""
    table = Table('Forwarded, by rules', 'rules', 'way', 'protocol', *SIZES, 'to plain forwarding')
    first = Table('The first packet of a connection, by rules', 'rules', 'protocol', '18 bytes, or a SYN',
                  'to plain forwarding')
    curve = {}
    for number in RULES:
        for protocol in cost.PORTS:
            with Bench(memory=32, files={'/sbin/add_rules': crowd.program('add_rules')}) as bench:
                rule = cost.RULES.split('; ')[protocol == 17]
                bench.sh(f'add_rules 10000 {number - 1}; {rule}\n{cost.LIMITS}')
                if int(bench.sh('wc -l </proc/net/ip_portfw').out) != number + 1:
                    raise lab.LabError(f'there are not {number} rules')
                ends = list(cost.clients(1))
                cost.dial(bench, protocol, ends)
                costs = established(bench, cost.some(ends), [protocol])
                curve.setdefault(number, {}).update(costs)
                add_rows(table, [f'{number:,}'], costs, stock, WAYS)
                costs = bench.forwarded(bench.client, cost.begins(protocol, cost.clients(1000, 1000)))
                first.add(f'{number:,}', cost.NAMES[protocol], instructions(costs),
                          ratios([costs], [stock['routed in', protocol, 18]]))
    for part in 'least', 'mean':
        aim(f'growth from 1 to {RULES[-1]:,} rules, of the {part}', '1.05',
            most(curve[RULES[-1]], curve[RULES[0]], part))
    return [table, first]


def profiles():
    """Function by function, of 18-byte UDP payloads."""
    tracer = functions.Tracer(lab.kernel('2.0.40', patch=cost.PATCH))
    counts = {}
    try:
        with Bench(rules=cost.ROUTING, qemu=tracer.options) as bench:
            def of(side, packet, times=2):
                far = bench.server if side is bench.client else bench.client
                side.pour([packet] * (times - 1), far)
                return tracer.functions(lambda: side.pour([packet], far), 'dev_queue_xmit')

            there = cost.packet(17, cost.CLIENT, 5, cost.SERVER, 6, 18)
            counts['routed in'] = of(bench.client, there)
            bench.sh(cost.MASQUERADING)
            back = cost.packet(17, cost.SERVER, 5, cost.CLIENT, 6, 18)
            counts['masq. out'] = of(bench.server, back)
            bench.sh(cost.RULES)
            counts['masq. out, rules'] = of(bench.server, back)
            ends = list(cost.clients(1))
            counts['first'] = of(bench.client, cost.begins(17, ends)[0], times=1)
            cost.dial(bench, 17, ends)
            counts['inward'] = of(bench.client, cost.inward(17, ends, 18)[0])
            counts['outward'] = of(bench.server, cost.outward(17, ends, 18)[0])
    finally:
        tracer.close()
    table = Table('Where they go (UDP, 18 bytes)', 'function', *counts)
    names = dict.fromkeys(name for count in counts.values() for name, _ in count.most_common())
    for name in sorted(names, key=lambda name: -sum(count[name] for count in counts.values())):
        table.add(name, *(count[name] or '' for count in counts.values()))
    table.add('all', *(sum(count.values()) for count in counts.values()))
    return table


def relays():
    table = Table('Through the kernel, and through a relay on the same gateway',
                  'instructions of the whole gateway', 'routed', 'forwarded', 'redir', 'redir / forwarded')
    routed, ours, theirs = relay.compare()
    for what, field in (('to the first byte of an answer', 'first_byte'), ('a connection with a byte', 'connection'),
                        ('a megabyte outward', 'outward'), ('a megabyte inward', 'inward')):
        row = [getattr(work, field) for work in (routed, ours, theirs)]
        table.add(what, *(f'{number:,.0f}' for number in row), f'{row[2] / row[1]:.2f}')
    aim('redir, a megabyte: to ours', 'at least 5',
        f'{min(theirs.outward / ours.outward, theirs.inward / ours.inward):.2f}')
    return table


def memories():
    table = Table('Memory', 'what', 'bytes')
    for what, number in zip(('text', 'data', 'bss'), memory.added()):
        table.add(f'kernel {what} added', f'{number:,}')
        if what == 'text':
            aim('kernel text added, bytes', '8,192', f'{number:,}')
    whats = 'the first rule', 'each rule', 'each connection', "each of stock's connections"
    allocated = dict(zip(whats, memory.allocated()))
    for what, number in allocated.items():
        table.add(f'{what} (whole pages over their number)', f'{number:,.0f}')
    aim('bytes a connection', *(f'{allocated[what]:,.0f}' for what in reversed(whats[2:])))
    return table


def texts():
    table = Table('Kernel text, by what it is for', 'part', 'bytes')
    for what, number in memory.text():
        table.add(what, f'{number:,}')
    return table


def plot(curve, stock):
    matplotlib.use('svg')
    from matplotlib import pyplot
    pyplot.rcParams.update({'svg.hashsalt': 'ipportfw', 'svg.fonttype': 'none', 'font.size': 9})
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for index, (way, colour) in enumerate((('inward', 'tab:blue'), ('outward', 'tab:orange'))):
        axes.plot(list(ORIGINAL), [costs[index] for costs in ORIGINAL.values()], ':', marker='.', color=colour,
                  label=f'patch of 1997, {way} (measured apart; full at 4,096)')
        axes.plot(CONNECTIONS, [curve[17, number][way, 17, 18].least for number in CONNECTIONS], '-', marker='o',
                  color=colour, label=f'forwarded, {way}')
    for name, key, style in (('stock masquerading, out', 'masqueraded out', '--'),
                             ('stock masquerading, in', 'masqueraded in', '-.'),
                             ('plain forwarding', 'routed in', '-')):
        axes.axhline(stock[key, 17, 18].least, color='grey', linestyle=style, linewidth=1, label=name)
    axes.set(xscale='log', yscale='log', xlabel='connections on one port',
             ylabel='instructions a packet', title='UDP, 18 bytes: from ip_rcv to dev_queue_xmit')
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(PLOT, metadata={'Date': None, 'Creator': None,
                                   'Description': 'SPDX-License-Identifier: GPL-2.0-only'})


def original():
    table = Table('The patch of 1997, measured apart (UDP, 18 bytes; 2.0.39; plain forwarding there: 1,074)',
                  'connections', 'inward', 'outward')
    for number, row in ORIGINAL.items():
        table.add(f'{number:,}', *(f'{number:,}' for number in row))
    return table


def main():
    tables = []

    def show(*more):
        for table in more:
            tables.append(table)
            print(table, flush=True)

    stock, table = foreign()
    show(table)
    curve, more = by_connections(stock)
    show(*more, original())
    show(*by_rules(stock))
    show(profiles())
    show(relays())
    show(memories(), texts(), aims)
    plot(curve, stock)
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + '\n' + '\n'.join(map(str, tables)) + '\n' + END + rest.partition(END)[2])


if __name__ == '__main__':
    main()
