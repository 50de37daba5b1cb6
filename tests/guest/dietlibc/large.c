// SPDX-License-Identifier: GPL-2.0-only
// dietlibc's calls for large files fall back on the plain ones where the
// kernel has no others, and 2.0 has none.
#include <errno.h>

static int no_such_call(void)
{
	errno = ENOSYS;
	return -1;
}

#define MISSING(call) int call() __attribute__((alias("no_such_call")))

MISSING(__dietlibc_stat64);
MISSING(__dietlibc_lstat64);
MISSING(__dietlibc_fstat64);
MISSING(__dietlibc_fcntl64);
MISSING(__dietlibc_statfs64);
MISSING(__dietlibc_fstatfs64);
