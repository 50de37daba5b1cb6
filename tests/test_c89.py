# SPDX-License-Identifier: GPL-2.0-only
"""Our kernel code is C as gcc 2.7.2 took it, for two strict compilers of today,
on the headers of every group of kernels."""

import itertools
import re
import subprocess

import pytest

import lab

STRICT = ('-std=gnu89 -pedantic -Wall -Wextra -Wdeclaration-after-statement -Wstrict-prototypes '
          '-Wmissing-prototypes -Wold-style-definition -Wshadow -Wpointer-arith -Wwrite-strings '
          '-Wno-unused-parameter -Wno-missing-field-initializers -Werror').split()
MACHINE = '-m32 -march=i486 -O2 -D__KERNEL__ -fgnu89-inline -fno-builtin -fsyntax-only'.split()
# What clang does not take: a register as both input and clobber, a label with
# nothing behind it.
FOR_CLANG = [('asm/semaphore.h', ':"ax", ?"dx", ?"memory"', ':"memory"'),
             ('linux/skbuff.h', r'(\n\w+:)\s*\n(\s*\})', r'\1 ;\n\2')]
SOURCE = lab.TOP / 'src/net/ipv4/ip_portfw.c'


def complaints(compiler, version, source, folder):
    """What a compiler says of it; the kernel's headers are spared."""
    include = lab.kernel(version) / 'include'
    for name, old, new in FOR_CLANG:
        header = folder / name
        header.parent.mkdir(exist_ok=True)
        header.write_text(re.sub(old, new, (include / name).read_text(encoding='latin1')))
    command = [compiler, *MACHINE, *STRICT, '-I', lab.TOP / 'src/include', '-isystem', folder, '-isystem', include,
               '-isystem', lab.TOP / 'toolchain', '-include', 'compat.h', source]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stderr


@pytest.mark.parametrize('compiler, version', itertools.product(['gcc', 'clang'], lab.GROUPS))
def test_no_warning(compiler, version, tmp_path):
    assert complaints(compiler, version, SOURCE, tmp_path) == ''


@pytest.mark.parametrize('compiler, line', [
    ('gcc', '// comment'),      # clang says so once, and that is in a header
    *itertools.product(['gcc', 'clang'], [
        'void f(void); void f(void) { f(); int i; i = 0; f(); }',
        'int f(void); int f(void) { for (int i = 0; i < 1; i++) ; return 0; }',
        'struct s { int a, b; }; struct s x = { .a = 1 };',
        'int f() { return 0; }',
    ])])
def test_a_line_of_later_c_is_noticed(compiler, line, tmp_path):
    copy = tmp_path / 'copy.c'
    copy.write_text(SOURCE.read_text() + line + '\n')
    assert 'copy.c' in complaints(compiler, '2.0.40', copy, tmp_path)


def test_ours_compiles_without_a_warning_in_the_kernel_itself():
    for version in '2.0.29', '2.0.40':
        log = (lab.kernel(version) / 'build.log').read_text()
        assert 'ip_portfw.c' in log
        assert [line for line in log.splitlines() if 'warning' in line and 'ip_portfw' in line.split(': ')[0]] == []
