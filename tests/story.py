# SPDX-License-Identifier: GPL-2.0-only
"""The story that every kernel and configuration must be able to tell, in
chapters, on the example's network with stations for client and server."""

import lab
from lab import IP, TCP, UDP

LISTING = ['TCP 194.160.1.1/80 > 10.0.0.2/80', 'UDP 194.160.1.1/525 > 10.0.0.2/525']


def boot(net):
    assert net.boot().gateway.boot_output.splitlines()[1:] == LISTING


def tcp(net):
    there_and_back(net, TCP(sport=7890, dport=80, flags='S', seq=1),
                   TCP(sport=80, dport=7890, flags='SA', seq=1, ack=2))
    shown(net, 'tcp', '80')


def udp(net):
    there_and_back(net, UDP(sport=7890, dport=525), UDP(sport=525, dport=7890))
    shown(net, 'udp', '525')


def delete(net):
    net.gateway.sh('ipportfw -D -t194.160.1.1/80')
    assert net.gateway.sh('ipportfw -L').out.splitlines()[1:] == LISTING[1:]
    net.client.send(IP(dst='194.160.1.1') / TCP(sport=7891, dport=80, flags='S'))
    assert net.client.expect(TCP, sport=80, dport=7891)[TCP].flags == 'RA'


CHAPTERS = [boot, tcp, udp, delete]


def there_and_back(net, query, answer):
    layer = type(query)
    net.client.send(IP(dst='194.160.1.1', ttl=20) / query / b'question')
    got = net.server.expect(layer, src='163.158.1.2', dst='10.0.0.2', sport=query.sport, dport=query.dport, ttl=19)
    lab.check_sums(got)
    net.server.send(IP(dst='163.158.1.2', ttl=20) / answer / b'answer')
    got = net.client.expect(layer, src='194.160.1.1', dst='163.158.1.2', sport=query.dport, dport=query.sport, ttl=19)
    lab.check_sums(got)


def shown(net, protocol, port):
    """netstat -M shows the connection."""
    row = net.gateway.sh(f'netstat -M -n | grep ^{protocol}').out.split()
    assert [row[0], *row[2:]] == [protocol, '10.0.0.2', '163.158.1.2', port, '->', '7890', f'({port})'], row
