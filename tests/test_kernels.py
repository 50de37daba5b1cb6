# SPDX-License-Identifier: GPL-2.0-only
"""Every kernel it was written for: patched, compiled, booted, and forwarding.
The results are shown as a table at the end."""

import gzip
import subprocess

import pytest

import lab
from lab import IP, TCP, UDP

VERSIONS = [f'2.0.{n}' for n in range(27, 41)]
LISTING = ['TCP 194.160.1.1/80 > 10.0.0.2/80', 'UDP 194.160.1.1/525 > 10.0.0.2/525']


@pytest.fixture(scope='module')
def rows(tables):
    head = ['version', 'patch lines', 'text added', 'data added', 'off = unpatched', 'boot', 'TCP', 'UDP']
    rows = {version: dict.fromkeys(head[1:], '-') for version in VERSIONS}
    yield rows
    tables['Kernels'] = [head] + [[version, *row.values()] for version, row in rows.items()]


def sizes(vmlinux):
    """Bytes of text, and of data and bss."""
    text, data, bss = map(int, subprocess.run(['size', vmlinux], check=True, capture_output=True,
                                              text=True).stdout.splitlines()[1].split()[:3])
    return text, data + bss


@pytest.mark.parametrize('version', VERSIONS)
def test_without_the_option_it_is_the_unpatched_kernel(version, rows):
    off, stock = lab.kernel(version, 'off'), lab.kernel(version, 'stock')
    names = ['vmlinux', 'bzImage', *sorted(str(o.relative_to(stock)) for o in stock.glob('net/ipv4/*.o'))]
    assert len(names) > 10
    different = [name for name in names if (off / name).read_bytes() != (stock / name).read_bytes()]
    assert different == []
    rows[version]['off = unpatched'] = 'yes'


@pytest.mark.parametrize('version', VERSIONS)
def test_the_patch_goes_on_and_comes_off(version, rows, tmp_path):
    tree, patch = tmp_path / 'linux', tmp_path / 'patch.gz'
    subprocess.run([lab.TOP / 'scripts/sources', 'tree', version, tree], check=True, capture_output=True)
    subprocess.run([lab.TOP / 'scripts/make-patch', version, patch], check=True, capture_output=True)
    text = gzip.decompress(patch.read_bytes())
    before = contents(tree)
    for arguments in [], ['-R']:
        done = subprocess.run(['patch', '-p1', *arguments], cwd=tree, input=text, capture_output=True)
        assert done.returncode == 0 and b'fuzz' not in done.stdout and b'offset' not in done.stdout, done
        assert (contents(tree) == before) == (arguments == ['-R'])
    rows[version]['patch lines'] = str(text.count(b'\n'))


def contents(tree):
    return {path.relative_to(tree): path.read_bytes() for path in tree.rglob('*') if path.is_file()}


@pytest.mark.parametrize('version', VERSIONS)
def test_it_forwards(version, rows):
    row, kernel = rows[version], lab.kernel(version)
    added = [a - b for a, b in zip(sizes(kernel / 'vmlinux'), sizes(lab.kernel(version, 'off') / 'vmlinux'))]
    row['text added'], row['data added'] = map(str, added)
    assert added[0] < 8192
    with lab.example(kernel, server='station') as net:
        net.boot()
        assert net.gateway.sh('uname -r').out.strip() == version
        assert net.gateway.boot_output.splitlines()[1:] == LISTING
        row['boot'] = 'yes'
        both_ways(net, lambda **f: TCP(flags='S', seq=1, **f), lambda **f: TCP(flags='SA', seq=1, ack=2, **f), 80)
        assert_shown(net, 'tcp', '80')
        row['TCP'] = 'yes'
        both_ways(net, UDP, UDP, 525)
        assert_shown(net, 'udp', '525')
        row['UDP'] = 'yes'
        net.gateway.sh('ipportfw -D -t194.160.1.1/80')
        assert net.gateway.sh('ipportfw -L').out.splitlines()[1:] == LISTING[1:]
        net.client.send(IP(dst='194.160.1.1') / TCP(sport=7891, dport=80, flags='S'))
        assert str(net.client.expect(TCP, sport=80, dport=7891)[TCP].flags) == 'RA'


def both_ways(net, ask, answer, port):
    net.client.send(IP(dst='194.160.1.1', ttl=20) / ask(sport=7890, dport=port) / b'question')
    got = net.server.expect(ask(sport=1).__class__, src='163.158.1.2', dst='10.0.0.2', sport=7890, dport=port, ttl=19)
    lab.check_sums(got)
    net.server.send(IP(dst='163.158.1.2', ttl=20) / answer(sport=port, dport=7890) / b'answer')
    got = net.client.expect(ask(sport=1).__class__, src='194.160.1.1', dst='163.158.1.2', sport=port, dport=7890,
                            ttl=19)
    lab.check_sums(got)


def assert_shown(net, protocol, port):
    row = net.gateway.sh(f'netstat -M -n | grep ^{protocol}').out.split()
    assert [row[0], *row[2:]] == [protocol, '10.0.0.2', '163.158.1.2', port, '->', '7890', f'({port})'], row


def test_kernels_of_different_versions():
    """A 2.0.29 between two 2.0.40."""
    page = 'served by 2.0.40\n'
    with lab.example(lab.kernel('2.0.29'), client='machine', server_rc='httpd -h /www\n',
                     server_files={'/www/index.html': page}) as net:
        net.server.kernel = net.client.kernel = lab.kernel('2.0.40')
        net.boot()
        versions = [machine.sh('uname -r').out.strip() for machine in (net.client, net.gateway, net.server)]
        assert versions == ['2.0.40', '2.0.29', '2.0.40']
        get = "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -p 7890 194.160.1.1 80"
        assert net.client.sh(get).out.endswith('\r\n\r\n' + page)
