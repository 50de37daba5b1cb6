// SPDX-License-Identifier: GPL-2.0-only
// dietlibc has getmntent only, which overwrites the entry before.
#include <mntent.h>
#include <stdlib.h>
#include <string.h>

struct mntent *getmntent_r(FILE *file, struct mntent *entry, char *buf, int size)
{
	static const char blank[] = " \t\n";
	char *rest, *number;

	while (fgets(buf, size, file)) {
		entry->mnt_fsname = strtok_r(buf, blank, &rest);
		if (!entry->mnt_fsname || *entry->mnt_fsname == '#')
			continue;
		entry->mnt_dir = strtok_r(0, blank, &rest);
		entry->mnt_type = strtok_r(0, blank, &rest);
		entry->mnt_opts = strtok_r(0, blank, &rest);
		if (!entry->mnt_opts)
			continue;
		number = strtok_r(0, blank, &rest);
		entry->mnt_freq = number ? atoi(number) : 0;
		number = number ? strtok_r(0, blank, &rest) : 0;
		entry->mnt_passno = number ? atoi(number) : 0;
		return entry;
	}
	return 0;
}
