# SPDX-License-Identifier: GPL-2.0-only
"""Our kernel code as a program of the host, compiled unchanged for a kernel of
our own (tests/fuzz), under AddressSanitizer and UndefinedBehaviorSanitizer, fed
by a fuzzer that coverage guides.

FUZZ_RUNS and FUZZ_SEED in the environment choose how much and what else it
tries. What it finds is kept in build/fuzz; the fuzzer there, with that file as
its argument and FUZZ_TRACE=1, shows the packets."""

import json
import os
import pathlib
import re
import subprocess

import pytest

import lab

# Of most mistakes fewer will do.
ENOUGH = 200000
RUNS = int(os.environ.get('FUZZ_RUNS', ENOUGH))
SEED = int(os.environ.get('FUZZ_SEED', 1))

FUZZ = lab.TOP / 'tests/fuzz'
SOURCES = sorted((lab.TOP / 'src/net/ipv4').glob('*.c'))
BUILD = pathlib.Path(os.environ.get('BUILD') or lab.TOP / 'build') / 'fuzz'

# The kernel is a 32-bit one.
CLANG = 'clang -m32 -std=gnu89 -g -O1 -fno-sanitize-recover=all -fsanitize=address,undefined,fuzzer'.split()
COVERED = '-fprofile-instr-generate -fcoverage-mapping'.split()
STRICT = '-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Wno-sign-compare -Werror'.split()

# Branches that have to be taken both ways, in a hundred, if there are enough runs.
FLOOR = {'ip_portfw.c': 84, 'ip_portfw_ftp.c': 75}


def run(*argv):
    """What a command that must succeed prints."""
    result = subprocess.run(argv, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def build(folder, portfw=SOURCES[0], rest=None):
    """The fuzzer, compiled and linked in the folder; perhaps with another
    ip_portfw.c, and then the rest from the folder of one that was built."""
    headers = folder / 'include'
    code = [FUZZ / 'inside.c', *SOURCES[1:], FUZZ / 'kernel.c', FUZZ / 'fuzz.c']
    for source in [*SOURCES, *code, lab.TOP / 'src/include/linux/ip_portfw.h']:
        for name in re.findall(r'#include <((?:linux|net|asm)/\S+)>', source.read_text()):
            if name != 'linux/ip_portfw.h':
                (headers / name).parent.mkdir(parents=True, exist_ok=True)
                (headers / name).touch()
    include = ['-D__KERNEL__', '-I', lab.TOP / 'src/include', '-I', headers, '-I', FUZZ, '-include', 'kernel.h',
               f'-DPORTFW="{portfw}"']
    objects = []
    for source in code:
        ours = source in SOURCES or source.stem == 'inside'
        if rest and source.stem != 'inside':
            objects.append(rest / f'{source.stem}.o')
            continue
        objects.append(folder / f'{source.stem}.o')
        run(*CLANG, *(COVERED if ours else STRICT), *include, '-c', source, '-o', objects[-1])
    run(*CLANG, *COVERED, *objects, '-o', folder / 'fuzz')
    return folder / 'fuzz'


def fuzz(program, corpus, runs, seed=SEED):
    """Let it run; what it leaves is beside it."""
    environment = {**os.environ, 'ASAN_OPTIONS': 'detect_leaks=0',
                   'LLVM_PROFILE_FILE': str(program.with_suffix('.profraw'))}
    return subprocess.run([program, f'-runs={runs}', f'-seed={seed}', '-max_len=2000', '-len_control=20', '-timeout=60',
                           '-rss_limit_mb=1024', f'-artifact_prefix={program.parent}/', corpus],
                          env=environment, capture_output=True, text=True, errors='replace')


def found(result):
    """The lines that say what was wrong and where, without the fuzzer's own."""
    return '\n'.join(line for line in result.stderr.splitlines()
                     if re.search(r'ERROR|must be|runtime error|#\d+ .* in .*/(src|fuzz)/|written to', line))


def branches(program):
    """Of each of our files, the branches there are and those that were taken."""
    profile = program.with_suffix('.profdata')
    run('llvm-profdata', 'merge', '-o', profile, program.with_suffix('.profraw'))
    export = run('llvm-cov', 'export', '-summary-only', f'-instr-profile={profile}', program)
    files = {pathlib.Path(file['filename']).name: file['summary']['branches']
             for file in json.loads(export)['data'][0]['files']}
    return {source.name: files[source.name] for source in SOURCES}


@pytest.fixture(scope='module')
def fuzzer():
    BUILD.mkdir(parents=True, exist_ok=True)
    return build(BUILD)


def test_nothing_is_found_and_nearly_every_branch_is_taken(fuzzer, tables, tmp_path):
    result = fuzz(fuzzer, tmp_path, RUNS)
    assert result.returncode == 0, f'FUZZ_SEED={SEED}: {found(result)}'
    taken = branches(fuzzer)
    tables[f'Branches of our kernel code taken on the host: {RUNS} runs, seed {SEED}'] = [
        ('file', 'branches', 'taken', ''),
        *((name, str(file['count']), str(file['covered']), f'{file["percent"]:.1f}%') for name, file in taken.items())]
    assert RUNS < ENOUGH or all(file['percent'] >= FLOOR[name] for name, file in taken.items()), taken


# Mistakes of the kind that the fuzzer is there for, each by one change, and
# what is said of it: one thing or another, if memory's layout decides.
MISTAKES = {
    'a port is read behind the packet': (
        'skb->len < need || ', '',
        'heap-buffer-overflow'),
    'a checksum forgets a carry': (
        '\tsum += sum >> 16;\n\treturn ~sum;', '\treturn ~sum;',
        'right(after, skb->len) == right(before, len)'),
    'a bad checksum begins a connection': (
        'if (!packet_begins(skb, ports))', 'if (0)',
        'was.conns <= conns'),
    'the twin is forgotten': (
        '\t\tconn_unlink(twin);\n\t\tconn_release(twin);', '\t\tconn_unlink(twin);',
        'conns >= index.entries'),
    'a twin is taken for a connection': (
        'c->flags & (CONN_TWIN | CONN_SELF) || ', '',
        'timer->function != NULL or heap-use-after-free'),
    'a connection ends with its timer running': (
        '\tdel_timer(&c->ms.timer);\n\tif (c->fifo_pprev)', '\tif (c->fifo_pprev)',
        'heap-use-after-free'),
    'the bound of the half open is not kept': (
        'if (half_open.count >= HALF_OPEN_MAX)', 'if (0)',
        'now.half_open <= now.half_open_max'),
    'a failed allocation is not noticed': (
        '\tif (c == NULL)\n\t\treturn NULL;\n\tmemset(c, 0', '\tmemset(c, 0',
        'SEGV on unknown address 0x00000000'),
    'user space is waited for with bottom halves off': (
        'memcpy_fromfs(&e, user, sizeof(e));', 'start_bh_atomic(); memcpy_fromfs(&e, user, sizeof(e)); end_bh_atomic();',
        '!world.bh && !intr_count'),
    'a rule is missing in the list': (
        'l->serial = r->serial;', 'l->serial = r->serial + 1;',
        'forms[i].listed'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_is_found(fuzzer, mistake, tmp_path):
    right, wrong, said = MISTAKES[mistake]
    source = SOURCES[0].read_text()
    assert source.count(right) == 1
    copy = tmp_path / 'ip_portfw.c'
    copy.write_text(source.replace(right, wrong))
    corpus = tmp_path / 'corpus'
    corpus.mkdir()
    result = fuzz(build(tmp_path, copy, fuzzer.parent), corpus, ENOUGH)
    assert result.returncode != 0 and any(one in found(result) for one in said.split(' or ')), found(result)
