# SPDX-License-Identifier: GPL-2.0-only
"""make soak: millions of packets, while rules come, change and go. In the end
everything is as it was at the start."""

import random
import re
import socket
import sys
import threading
import time

import lab
from crowd import STALL, Crowd, Honest, aton, connections, echo, program, udp
from lab import LabError, loop
from lab.loop import PATIENCE
from lab.network import MASQUERADING
from memory import books, comes_back

# What `rules churn` edits.
FIRST, PORTS, SECOND = 20000, 64, '10.0.0.4'
RC = MASQUERADING + '''\
/sbin/ipfwadm -M -s 10 2 10
/usr/local/sbin/ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80
/usr/local/sbin/ipportfw -A -u194.160.1.1/525 -R 10.0.0.2/525
'''
PART = 20_000                               # datagrams, and a hundredth at least
# QEMU's tulip writes a descriptor word by word, the one that gives it back to the
# driver first: once in so many millions the buffer's old address overwrites a new one.
TULIP = re.compile(r'(?m)^<3>eth\d: Internal fault: The skbuff addresses do not match in tulip_rx: .*\n')


class Visitor(threading.Thread):
    """Tries the doors that come and go: each is open, and what is said comes
    back, or it is shut."""

    def __init__(self, host, seed):
        super().__init__(daemon=True)
        self.host, self.random, self.enough = host, random.Random(seed), threading.Event()
        self.open = self.shut = 0
        self.failed = None
        self.start()

    def run(self):
        try:
            while not self.enough.is_set():
                with Honest.one_at_a_time:
                    sock = self.host.socket()
                with sock:
                    self.visit(sock, FIRST + 1 + 2 * self.random.randrange(PORTS // 2))
        except Exception as error:
            self.failed = error

    def visit(self, sock, port):
        sock.settimeout(60 * PATIENCE)
        try:
            sock.connect((lab.OUTSIDE, port))
        except ConnectionRefusedError:
            self.shut += 1
            return
        for turn in range(4):
            said, heard = self.random.randbytes(600), b''
            sock.sendall(said)
            while len(heard) < len(said):
                piece = sock.recv(1000)
                if not piece:
                    raise LabError('a connection was closed because a rule changed')
                heard += piece
            if heard != said:
                raise LabError('something else came back')
        self.open += 1

    def stop(self):
        self.enough.set()
        self.join()
        if self.failed:
            raise self.failed


def state(gateway):
    """Rules, the number of connections, and the counters of free ports."""
    return gateway.sh('ipportfw -L').out, *connections(gateway)


def received(gateway):
    """Packets that the gateway has taken from its cards."""
    lines = gateway.sh('cat /proc/net/dev').out.splitlines()
    return sum(int(line.split(':')[1].split()[0]) for line in lines if 'eth' in line)


def rest(gateway, wanted):
    """Wait until all is as it was."""
    loop.wait(lambda: state(gateway) == wanted, 180, lambda: 'all to be as it was: rules, connections and free ports '
              f'are {state(gateway)}', poll=5)


def traffic(net, packets, say):
    """So many packets, while rules change all the time."""
    gateway, begun, start = net.gateway, received(net.gateway), time.monotonic()
    changing = gateway.background(f'rules churn {packets}', '/tmp/edits')
    honest = [Honest(net.client, 80), Honest(net.client, 80, again=True), Honest(net.client, 525, socket.SOCK_DGRAM)]
    visitors = [Visitor(net.client, seed) for seed in range(2)]
    r, head, to = random.Random(packets), net.world.ethernet(), aton(lab.OUTSIDE)
    done, told, part = 0, 0, max(PART, packets // 100)
    while done < packets:
        turns = [one.turns for one in honest]
        net.world.pour(head + udp(b'\5\5\5' + bytes([r.randrange(8)]), 1024 + r.randrange(256), to,
                                  FIRST + r.randrange(0, PORTS, 2), b'who is there?') for _ in range(part))
        loop.wait(lambda: all(one.turns > before for one, before in zip(honest, turns)), STALL,
                  'each of the honest to get an answer', poll=0.01)
        done = received(gateway) - begun
        if done * 20 // packets > told:
            told = done * 20 // packets
            say(f'{done:>10} packets, {time.monotonic() - start:5.0f} s')
    turns = [one.stop() for one in honest]
    for visitor in visitors:
        visitor.stop()
    gateway.sh(f'kill {changing}')
    gateway.until('test -s /tmp/edits')
    edits = int(gateway.sh('cat /tmp/edits').out)
    opened, shut = (sum(getattr(v, name) for v in visitors) for name in ('open', 'shut'))
    if min(opened, shut, net.world.came) == 0:
        raise LabError('there was no traffic through the rules that changed')
    say(f'{edits} edits of rules; {turns} exchanges of the honest; of the doors that come and go, '
        f'{opened} were open and {shut} shut; {net.world.came} datagrams came back through them')


def soak(packets, say=print, kernel=None):
    # Little room on its disk: 2.0 keeps some memory for each block ever used.
    with lab.example(kernel, server='host', client='host', nic='tulip', rc=RC, via='163.158.1.9', free=512,
                     files={'/bin/rules': program('rules')}) as net:
        net.world = Crowd(net, net.outside, '163.158.1.9/24', lab.OUTSIDE)
        second = net.host('second', net.inside, f'{SECOND}/24', via=lab.INSIDE)
        echo(net.server)
        echo(second, [f'{kind}/{port}' for kind in ('udp', 'tcp') for port in range(FIRST, FIRST + PORTS + 1)])
        net.boot()
        gateway = net.gateway
        gateway.sh('echo half_open_timeout 10 >/proc/net/ip_portfw_limits')
        wanted = state(gateway)
        say('warming up ...')
        traffic(net, packets // 50, lambda text: None)
        rest(gateway, wanted)
        before, said = books(gateway), gateway.console()
        traffic(net, packets, say)
        rest(gateway, wanted)
        comes_back(gateway, before)
        complaint, of_the_card = TULIP.subn('', gateway.console()[len(said):])
        if complaint:
            raise LabError(f'the kernel has complained: {complaint[:2000]}')
        if of_the_card:
            say(f'(faults of QEMU\'s card, as the driver tells: {of_the_card})')
        say('rules, connections, free ports and memory, block for block, are as they were')
        net.world.close()


if __name__ == '__main__':
    try:
        soak(int(sys.argv[1]))
    except LabError as error:
        sys.exit(f'make soak: {error}')
