# SPDX-License-Identifier: GPL-2.0-only
"""make config, on a terminal as a person sees it, asks the new question once,
in its place, and explains it."""

import os
import re
import subprocess

import pexpect
import pytest

import lab

OURS = 'CONFIG_IP_MASQUERADE_IPPORTFW'
YES = {'CONFIG_EXPERIMENTAL', 'CONFIG_NET', 'CONFIG_INET', 'CONFIG_FIREWALL', 'CONFIG_IP_FORWARD',
       'CONFIG_IP_FIREWALL', 'CONFIG_IP_MASQUERADE'}


def asked(version, folder, answers, explain=()):
    """The names of the questions, in order, and what "?" shows about some."""
    tree = folder / 'linux'
    subprocess.run([lab.TOP / 'scripts/sources', 'tree', version, tree], check=True, capture_output=True)
    subprocess.run([lab.TOP / 'scripts/patch-tree', tree], check=True, capture_output=True)
    names, shown = [], {}
    terminal = pexpect.spawn('make', ['ARCH=i386', 'config'], cwd=str(tree), encoding='latin1', timeout=60,
                             env={**os.environ, 'PAGER': 'cat'})
    terminal.delaybeforesend = None
    while terminal.expect([r'(\(\w+\)|\)) \[[^]\n]*\]:? ', pexpect.EOF]) == 0:
        name = terminal.match.group(1).strip('()')
        if name in explain and name not in shown:
            shown[name] = None
            terminal.sendline('?')
            continue
        if name in explain and shown[name] is None:
            shown[name] = terminal.before.replace('\r', '')
        names.append(name)
        terminal.sendline('y' if name in answers else '')
    terminal.close()
    assert terminal.exitstatus == 0, terminal.before
    return names, shown, (tree / '.config').read_text()


@pytest.mark.parametrize('version', lab.VERSIONS)
def test_the_question_is_asked_in_its_place(version, tmp_path):
    names, shown, config = asked(version, tmp_path, YES | {OURS}, [OURS])
    assert names.count(OURS) == 1
    assert names.index('CONFIG_IP_MASQUERADE') < names.index(OURS) < names.index('CONFIG_IP_ALWAYS_DEFRAG')
    text = (lab.TOP / 'patches').joinpath(lab_hooks(version)).read_text(encoding='latin1')
    help_text = re.search(r'^\+' + OURS + r'\n((?:\+  .*\n)+)', text, re.M).group(1).replace('+  ', '  ')
    assert help_text in shown[OURS]
    assert f'{OURS}=y\n' in config


def lab_hooks(version):
    """The name of the file of hooks for a version."""
    script = f'top={lab.TOP}; . scripts/lib.sh; hooks_for {version}'
    path = subprocess.run(['bash', '-c', script], cwd=lab.TOP, check=True, capture_output=True, text=True).stdout
    return path.strip().rsplit('/', 1)[1]


def test_no_is_the_default_and_without_masquerading_nothing_is_asked(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    names, _, config = asked('2.0.40', tmp_path / 'a', YES)
    assert OURS in names and f'# {OURS} is not set\n' in config
    names, _, config = asked('2.0.40', tmp_path / 'b', YES - {'CONFIG_IP_MASQUERADE'})
    assert OURS not in names and f'{OURS}=' not in config
