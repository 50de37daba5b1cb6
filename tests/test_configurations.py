# SPDX-License-Identifier: GPL-2.0-only
"""Kernels configured otherwise."""

import pytest

import lab
import story
from lab import IP, TCP, UDP

VERSIONS = lab.GROUPS if lab.ALL else ['2.0.29', '2.0.40']


@pytest.fixture
def built(tmp_path):
    """A function that builds a kernel with further options."""
    def build(name, *options, version='2.0.40', flavour='on'):
        fragment = tmp_path / name
        fragment.write_text('\n'.join(options) + '\n')
        return lab.kernel(version, flavour, fragment)
    return build


def fullest(version):
    """All that masquerading and the rest of IP can be combined with."""
    yes = ['IP_TRANSPARENT_PROXY', 'IP_ROUTER', 'IP_MULTICAST', 'IP_MROUTE', 'IP_NOSR', 'NET_IPIP', 'INET_RARP']
    if version >= '2.0.30':
        yes += ['IP_MASQUERADE_IPAUTOFW', 'IP_MASQUERADE_ICMP', 'SYN_COOKIES']
    if version >= '2.0.37':
        yes += ['IP_MASQUERADE_PPTP', 'IP_MASQUERADE_PPTP_MULTICLIENT', 'IP_MASQUERADE_IPSEC']
    return [f'CONFIG_{name}=y' for name in yes]


def barest(version):
    """Masquerading, and nothing that is not needed for it."""
    no = ['MODULES', 'NET_ALIAS', 'IP_ALIAS', 'IP_FIREWALL_VERBOSE', 'IP_ALWAYS_DEFRAG', 'IP_ACCT']
    if version >= '2.0.30':
        no += ['IP_MASQUERADE_ICMP', 'EXPERIMENTAL']        # before, masquerading was experimental
    return [f'CONFIG_{name}=n' for name in no]


@pytest.mark.parametrize('version', VERSIONS)
@pytest.mark.parametrize('options', [fullest, barest], ids=lambda f: f.__name__)
def test_it_forwards_in_the_fullest_and_the_barest_kernel(built, options, version):
    kernel = built(options.__name__, *options(version), version=version)
    log = (kernel / 'build.log').read_text().splitlines()
    assert [line for line in log if 'warning' in line and 'ip_portfw' in line.split(': ')[0]] == []
    with lab.example(kernel, server='station') as net:
        for chapter in story.CHAPTERS:
            chapter(net)


@pytest.mark.parametrize('version', ['2.0.29', '2.0.40'])
@pytest.mark.parametrize('options', [fullest, barest], ids=lambda f: f.__name__)
def test_the_option_off_is_the_unpatched_kernel_there_too(built, options, version):
    off, stock = (built(options.__name__, *options(version), version=version, flavour=flavour)
                  for flavour in ('off', 'stock'))
    assert (off / 'vmlinux').read_bytes() == (stock / 'vmlinux').read_bytes()


def test_a_server_behind_a_tunnel(built):
    """Which a host outside ends: its answers come by the wire that they leave by."""
    with lab.example(built('tunnel', 'CONFIG_NET_IPIP=y'), server='station', via='163.158.1.9') as net:
        end = net.station(net.outside, '163.158.1.9/24')
        net.boot()
        net.gateway.sh('ipfwadm -F -i accept -S 194.160.1.1 -D 163.158.1.9; ifconfig tunl0 194.160.1.1 up; route add -host 10.9.0.2 gw 163.158.1.9 tunl0; '
                       'ipportfw -A -t194.160.1.1/81 -R 10.9.0.2/80')

        def inward(flags, **fields):
            net.client.send(IP(dst='194.160.1.1') / TCP(sport=7890, dport=81, flags=flags, **fields))
            came = end.expect(TCP, where=lambda p: p[IP].proto == 4, sport=7890, dport=80, flags=flags)
            assert came[IP].payload.dst == '10.9.0.2'

        def outward(flags, **fields):
            end.send(IP(dst='194.160.1.1') / IP(src='10.9.0.2', dst='163.158.1.2')
                     / TCP(sport=80, dport=7890, flags=flags, **fields))
            lab.check_sums(net.client.expect(TCP, src='194.160.1.1', sport=81, dport=7890, flags=flags))

        inward('S', seq=1)
        outward('SA', seq=7, ack=2)
        inward('A', seq=2, ack=8)
        inward('PA', seq=2, ack=8)
        outward('PA', seq=8, ack=2)
        outward('FA', seq=8, ack=2)


def test_fragments_inward_without_always_defragment(built):
    """They are put together all the same, since they are for the gateway."""
    with lab.example(built('nodefrag', 'CONFIG_IP_ALWAYS_DEFRAG=n'), server='station') as net:
        net.boot()
        data = bytes(range(256)) * 4
        whole = IP(src='163.158.1.2', dst='194.160.1.1', id=7) / UDP(sport=7890, dport=525) / data
        for fragment in reversed(whole.fragment(496)):
            net.client.send(fragment)
        got = net.server.expect(UDP, sport=7890)
        lab.check_sums(got)
        assert bytes(got[UDP].payload) == data


def test_a_kernel_without_proc(built):
    assert 'ip_portfw_do_in' in (built('noproc', 'CONFIG_PROC_FS=n') / 'System.map').read_text()
