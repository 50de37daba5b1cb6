// SPDX-License-Identifier: GPL-2.0-only
// Without the magic number 2.0 takes a mount call for the still older one,
// which had no flags.
#include <sys/mount.h>
#include <sys/syscall.h>

int mount(const char *device, const char *dir, const char *type,
	  unsigned long flags, const void *data)
{
	return syscall(__NR_mount, device, dir, type, flags | MS_MGC_VAL, data);
}
