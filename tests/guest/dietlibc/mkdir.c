// SPDX-License-Identifier: GPL-2.0-only
// For "/" 2.0 says that it does not exist. Programs that make a whole path ask
// for every part of it, and go on only if the part exists.
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int mkdir(const char *path, mode_t mode)
{
	if (!syscall(__NR_mkdir, path, mode))
		return 0;
	if (errno == ENOENT && !access(path, F_OK))
		errno = EEXIST;
	return -1;
}
