# SPDX-License-Identifier: GPL-2.0-only
"""What the machines boot: made by the project's own scripts when needed."""

import functools
import os
import pathlib
import subprocess

from .loop import LabError

# All it was written for, and one of each group that differs in its masquerading.
VERSIONS = [f'2.0.{n}' for n in range(27, 41)]
GROUPS = ['2.0.29', '2.0.30', '2.0.33', '2.0.35', '2.0.36', '2.0.38', '2.0.40']
# KERNELS=all in the environment: tests spare themselves none.
ALL = os.environ.get('KERNELS') == 'all'

TOP = pathlib.Path(__file__).resolve().parents[2]


def _made(*argv):
    """Run a script that prints the folder it has made."""
    script = subprocess.run([TOP / argv[0], *argv[1:]], stdout=subprocess.PIPE, text=True)
    if script.returncode:
        raise LabError(f'{" ".join(argv)} failed: see above')
    return TOP / script.stdout.strip()


@functools.cache
def kernel(version='2.0.40', flavour='on', fragment=None, patch=None):
    """The folder of a built kernel: bzImage, vmlinux, System.map, config."""
    return _made('scripts/build-kernel', *(['-c', str(fragment)] if fragment else []),
                 *(['-p', str(patch)] if patch else []), version, flavour)


@functools.cache
def guest(*programs):
    """The folder of the guests' user land, and of further programs."""
    return _made('tests/guest/build', *programs)
