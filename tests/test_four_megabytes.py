# SPDX-License-Identifier: GPL-2.0-only
"""A machine with four megabytes, as many gateways were."""

import contextlib

import pytest

import crowd
import lab

CONNECTIONS, TURNS = 1000, 3
# The root file system is a disk's: one in memory would need half of it.
CONFIG = '''\
CONFIG_BLK_DEV_IDE=y
CONFIG_BLK_DEV_RAM=n
CONFIG_BLK_DEV_INITRD=n
'''


@pytest.fixture
def net(tmp_path, namespaces):
    fragment = tmp_path / 'disk'
    fragment.write_text(CONFIG)
    with lab.example(lab.kernel(fragment=fragment), server='host', client='host', memory=4, disk=True,
                     nic='tulip') as net:
        yield net.boot()


def forwarded(gateway):
    """The clients' ports of the connections that there are."""
    lines = gateway.sh('cat /proc/net/ip_masquerade', timeout=300).out.splitlines()[1:]
    return sorted(int(line.split()[2].split(':')[1], 16) for line in lines)


def test_a_thousand_connections_with_traffic_on_all(net):
    meminfo = net.gateway.sh('cat /proc/meminfo').out
    assert int(meminfo.split('MemTotal:')[1].split()[0]) < 4096
    crowd.echo(net.server)
    with contextlib.ExitStack() as stack:
        socks = []
        for _ in range(CONNECTIONS):
            socks.append(stack.enter_context(net.client.socket()))
            socks[-1].settimeout(60)
            socks[-1].connect((lab.OUTSIDE, 80))
        for turn in range(TURNS):
            for number, sock in enumerate(socks):
                sock.sendall(b'%d of %d' % (turn, number))
                assert sock.recv(100) == b'%d of %d' % (turn, number)
        assert forwarded(net.gateway) == sorted(sock.getsockname()[1] for sock in socks)
