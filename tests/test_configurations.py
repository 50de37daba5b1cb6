# SPDX-License-Identifier: GPL-2.0-only
"""Kernels configured otherwise."""

import pytest

import lab
from lab import IP, UDP


@pytest.fixture
def built(tmp_path):
    """A function that builds a kernel with further options."""
    def build(name, *options):
        fragment = tmp_path / name
        fragment.write_text('\n'.join(options) + '\n')
        return lab.kernel(fragment=fragment)
    return build


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
