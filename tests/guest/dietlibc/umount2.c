// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <sys/mount.h>

int umount2(const char *dir, int flags)
{
	if (flags) {
		errno = EINVAL;
		return -1;
	}
	return umount(dir);
}
