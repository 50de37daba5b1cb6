# SPDX-License-Identifier: GPL-2.0-only
"""Every kernel it was written for (one of each group, unless KERNELS=all):
patched, compiled, booted, and forwarding. A table at the end shows it."""

import gzip
import re
import subprocess

import pytest

import lab
import story

VERSIONS = lab.VERSIONS if lab.ALL else lab.GROUPS

FILES = ['Documentation/Configure.help', 'Documentation/networking/ip_portfw.txt', 'include/linux/ip_portfw.h',
         'net/ipv4/Config.in', 'net/ipv4/Makefile', 'net/ipv4/icmp.c', 'net/ipv4/ip_masq.c', 'net/ipv4/ip_portfw.c',
         'net/ipv4/ip_portfw_ftp.c', 'net/ipv4/ip_sockglue.c']


@pytest.fixture(scope='module')
def rows(tables):
    head = ['version', 'patch lines', 'text added', 'data added', 'off = unpatched',
            *(chapter.__name__ for chapter in story.CHAPTERS)]
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
def test_the_compiler_has_set_no_trap(version):
    """It does where the old code means something undefined today."""
    code = subprocess.run(['objdump', '-d', lab.kernel(version) / 'vmlinux'], check=True, capture_output=True, text=True)
    assert 'call' in code.stdout and 'ud2' not in code.stdout


@pytest.mark.parametrize('version', VERSIONS)
def test_the_patch_goes_on_and_comes_off(version, rows, tmp_path):
    tree, patch = tmp_path / 'linux', tmp_path / 'patch.gz'
    subprocess.run([lab.TOP / 'scripts/sources', 'tree', version, tree], check=True, capture_output=True)
    subprocess.run([lab.TOP / 'scripts/make-patch', version, patch], check=True, capture_output=True)
    text = gzip.decompress(patch.read_bytes())
    assert sorted(re.findall(r'^\+\+\+ b/(.*)$', text.decode('latin1'), re.M)) == FILES
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
    assert added[0] < 18 << 10
    with lab.example(kernel, server='station') as net:
        for chapter in story.CHAPTERS:
            chapter(net)
            row[chapter.__name__] = 'yes'
        assert net.gateway.sh('uname -r').out.startswith(version)      # a vendor's says more


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
