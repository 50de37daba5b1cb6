// SPDX-License-Identifier: GPL-2.0-only
// 2.0 has one chown, and it does not follow symbolic links.
#include <sys/syscall.h>
#include <unistd.h>

int chown(const char *path, uid_t owner, gid_t group)
{
	return syscall(__NR_lchown, path, owner, group);
}
