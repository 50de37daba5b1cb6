// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <unistd.h>

ssize_t pread(int fd, void *buf, size_t count, off_t offset)
{
	off_t old = lseek(fd, 0, SEEK_CUR);
	ssize_t done;
	int error;

	if (old == -1 || lseek(fd, offset, SEEK_SET) == -1)
		return -1;
	done = read(fd, buf, count);
	error = errno;
	lseek(fd, old, SEEK_SET);
	errno = error;
	return done;
}
