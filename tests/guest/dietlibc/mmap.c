// SPDX-License-Identifier: GPL-2.0-only
// The old call takes its six arguments in memory, the offset in bytes.
#include <sys/mman.h>
#include <sys/syscall.h>

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	long args[] = { (long)addr, len, prot, flags, fd, offset };

	return (void *)syscall(__NR_mmap, args);
}
