# SPDX-License-Identifier: GPL-2.0-only
"""What a gateway's kernel has of memory, by its own books."""

import functools
import re
import struct

from lab import loop

PAGE = 4096
SIZES = [32, 64, 128, 252, 508, 1020, 2040, *(PAGE * n - 16 for n in (1, 2, 4, 8, 16, 32))]
SPARE = 8           # pages: kmalloc() itself keeps up to seven for later


def free(gateway):
    """Bytes free, not counting what the kernel caches: 2.0 counts whole pages."""
    lines = gateway.sh('cat /proc/meminfo').out.splitlines()
    row = dict(zip(lines[0].split(), map(int, lines[1].split()[1:])))
    return row['free:'] + row['buffers:'] + row['cached:']


@functools.lru_cache
def address(kernel, symbol):
    """Where a kernel has something, of which there must be one."""
    (where,) = re.findall(rf'(?m)^(\w+) . {symbol}$', (kernel / 'System.map').read_text())
    return int(where, 16)


def words(gateway, symbol, number=1):
    """Words of the kernel's memory."""
    where = address(gateway.kernel, symbol)
    raw = gateway.sh(f'dd if=/dev/kmem bs=4 skip={where // 4} count={number} 2>/dev/null').out_bytes
    assert where % 4 == 0 and len(raw) == 4 * number
    return struct.unpack(f'<{number}i', raw)


def books(gateway):
    """Blocks in use, by size, but for cached routes and the heads of the disk's
    buffers; and pages that are free, or that kmalloc() has cut into blocks: how
    many it needs for these is a matter of luck."""
    def aside():
        return [words(gateway, symbol)[0] for symbol in ('rt_cache_size', 'nr_buffer_heads')]

    before, now = None, aside()
    while now != before:                    # each command may take some more
        before = now
        rows = list(zip(*[iter(words(gateway, 'sizes', 8 * len(SIZES)))] * 8))
        now = aside()
    routes, heads = now
    blocks = {size: given - back for size, (_, _, _, given, back, *_) in zip(SIZES, rows)}
    blocks[64] -= routes
    blocks[128] -= heads
    return blocks, free(gateway) // PAGE + sum(pages << order for *_, pages, order in rows)


def comes_back(gateway, before, spare=SPARE, timeout=30):
    """Wait until all that the books said then is there again, but for some pages."""
    def lost():
        blocks, pages = books(gateway)
        lost = [f'{number - before[0][size]} blocks of {size}' for size, number in blocks.items()
                if number > before[0][size]]
        if before[1] - pages > spare:
            lost.append(f'{before[1] - pages} pages')
        return ', '.join(lost)

    loop.wait(lambda: not lost(), timeout, lambda: f'memory to come back: {lost()}', poll=1)
