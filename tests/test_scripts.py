# SPDX-License-Identifier: GPL-2.0-only
"""The scripts and make targets around the kernel: what they make, and what
they say when something is wrong."""

import filecmp
import lzma
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import lab

TOP = lab.TOP
DISTFILES = pathlib.Path(os.environ.get('DISTFILES') or pathlib.Path(
    os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache') / 'ipportfw/distfiles')

# What unshare needs of those who are not root.
AS_ROOT = ['--user', '--map-root-user'] if os.geteuid() else []


def run(*argv, cwd=TOP, **env):
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, env={**os.environ, **env})


def refused(result, *words):
    """One clear line, and not a zero exit status."""
    errors = [line for line in result.stderr.splitlines() if not line.startswith('  ')]
    assert result.returncode != 0 and result.stdout == '' and len(errors) == 1, result
    for word in words:
        assert word in errors[0], errors


def contents(tree):
    return {path.relative_to(tree): path.read_bytes() for path in tree.rglob('*') if path.is_file()}


@pytest.fixture(scope='module')
def pristine(tmp_path_factory):
    tree = tmp_path_factory.mktemp('kernel') / 'linux'
    assert run('scripts/sources', 'tree', '2.0.40', tree).returncode == 0
    return tree


@pytest.fixture
def tree(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / 'linux', symlinks=True)


@pytest.fixture
def cache(tmp_path):
    """A cache of the same files, to be spoilt."""
    cache = tmp_path / 'distfiles'
    cache.mkdir()
    for file in DISTFILES.glob('*.xz'):
        (cache / file.name).symlink_to(file)
    return cache


# The product patch

def test_the_same_sources_make_the_same_patch(tmp_path):
    for name in 'one', 'two':
        assert run('scripts/make-patch', '2.0.40', tmp_path / name).returncode == 0
    assert filecmp.cmp(tmp_path / 'one', tmp_path / 'two', shallow=False)


def test_each_hook_is_a_line_and_no_stock_line_goes():
    for patch in (TOP / 'patches').iterdir():
        lines = patch.read_text(encoding='latin1').splitlines()
        assert not [line for line in lines if line.startswith('-') and not line.startswith('--- ')], patch


# make

def test_make_help_names_every_target():
    targets = re.search(r'^\.PHONY:(.*)$', (TOP / 'Makefile').read_text(), re.M).group(1).split()
    shown = run('make', '-s', 'help').stdout.splitlines()[1:]
    assert sorted(line.split()[0] for line in shown) == sorted(targets)
    assert all(len(line.split()) > 2 for line in shown)


def test_make_install_and_clean(tmp_path):
    copy = tmp_path / 'checkout'
    shutil.copytree(TOP, copy, ignore=shutil.ignore_patterns('build', '.git'))
    assert run('make', 'install', f'DESTDIR={tmp_path}/dest', 'PREFIX=/usr', cwd=copy).returncode == 0
    tool = tmp_path / 'dest/usr/sbin/ipportfw'
    assert 'usage: ipportfw' in run(tool, '-h').stdout
    assert (tmp_path / 'dest/usr/share/man/man8/ipportfw.8').is_file()
    assert (copy / 'tools/ipportfw').exists()
    assert run('make', 'clean', cwd=copy).returncode == 0
    assert not (copy / 'tools/ipportfw').exists()


# Bad input

def test_a_wrong_distfile(cache, tmp_path):
    (cache / 'patch-2.0.7.xz').unlink()
    (cache / 'patch-2.0.7.xz').write_bytes(lzma.compress(b'not it'))
    refused(run('scripts/sources', 'tree', '2.0.40', tmp_path / 'tree', DISTFILES=str(cache)),
            'patch-2.0.7.xz', 'SHA-256')
    assert not (tmp_path / 'tree').exists()
    assert (cache / 'patch-2.0.7.xz').exists()


def test_a_missing_distfile_and_no_network(cache, tmp_path):
    (cache / 'patch-2.0.7.xz').unlink()
    refused(run('unshare', *AS_ROOT, '--net', 'scripts/sources', 'tree', '2.0.40', tmp_path / 'tree',
                DISTFILES=str(cache)), 'patch-2.0.7.xz')
    assert not (tmp_path / 'tree').exists()
    assert not (cache / 'patch-2.0.7.xz').exists()


@pytest.mark.parametrize('version', ['2.0.26', '2.0.41', '2.1.0', '2.0', '', 'x', '2.0.3a', '2.0.40 '])
def test_a_version_that_is_not_supported(version, tmp_path):
    for script in (['scripts/sources', 'tree', version, tmp_path / 'x'], ['scripts/make-patch', version, tmp_path / 'x'],
                   ['scripts/build-kernel', version, 'on']):
        refused(run(*script, BUILD=str(tmp_path / 'build')), '2.0')
        assert not (tmp_path / 'x').exists()


def test_a_tree_that_is_none(tmp_path):
    (tmp_path / 'Makefile').write_text('VERSION = 2\nPATCHLEVEL = 4\nSUBLEVEL = 0\n')
    for tree in tmp_path, tmp_path / 'nowhere':
        refused(run('scripts/patch-tree', tree), str(tree), '2.0.27 to 2.0.40')
    assert os.listdir(tmp_path) == ['Makefile']


def test_a_tree_that_is_already_patched(tree):
    assert run('scripts/patch-tree', tree).returncode == 0
    before = contents(tree)
    refused(run('scripts/patch-tree', tree), 'already patched')
    refused(run('scripts/build-kernel', '2.0.40', 'on', LINUX=str(tree)), 'already patched')
    assert contents(tree) == before


def test_a_tree_that_cannot_be_written(tree):
    before = contents(tree)
    read_only = f'mount --bind {tree} {tree} && mount -o remount,ro,bind {tree} && exec scripts/patch-tree {tree}'
    refused(run('unshare', *AS_ROOT, '--mount', 'bash', '-c', read_only), str(tree), 'written')
    assert contents(tree) == before


def test_a_tree_of_another_version(tree):
    refused(run('scripts/build-kernel', '2.0.36', 'on', LINUX=str(tree)), '2.0.36', '2.0.40')


def test_a_tree_that_is_not_what_it_says(tree):
    file = tree / 'net/ipv4/ip_masq.c'
    file.write_bytes(file.read_bytes().replace(b'switch (iph->protocol) {', b'switch (iph->protocol)\n\t{'))
    before = contents(tree)
    refused(run('scripts/patch-tree', tree), 'does not fit')
    assert contents(tree) == before


def test_a_tree_of_ones_own_is_built_and_left_alone(tree, tmp_path):
    before = contents(tree)
    built = run('scripts/build-kernel', '2.0.40', 'on', LINUX=str(tree), BUILD=str(tmp_path / 'build'))
    assert built.returncode == 0, built
    assert filecmp.cmp(pathlib.Path(built.stdout.strip()) / 'vmlinux', lab.kernel() / 'vmlinux', shallow=False)
    assert contents(tree) == before


def test_what_is_missing_is_said_to_those_who_are_not_root():
    fake = 'dpkg-query() { false; }; id() { echo 1000; }; export -f dpkg-query id; exec scripts/need source lab'
    refused(run('bash', '-c', fake), 'As root, run: apt-get install -y', 'qemu-system-x86', 'patch')
