// SPDX-License-Identifier: GPL-2.0-only
// The path is found by climbing: each parent directory holds the name of the
// one below, known by device and inode.
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// The name of CHILD in the directory UP. MOUNTED: CHILD is on another device
// than UP, so the entry shows the inode number of what CHILD covers.
static int find_name(const char *up, const struct stat *child, int mounted,
		     char *name)
{
	char path[PATH_MAX + NAME_MAX + 2];
	size_t len = strlen(up);
	struct dirent *entry;
	struct stat st;
	DIR *dir = opendir(up);
	int found = -1;

	if (!dir)
		return -1;
	memcpy(path, up, len);
	path[len++] = '/';
	errno = 0;
	while (found && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (!mounted && entry->d_ino != child->st_ino)
			continue;
		strcpy(path + len, entry->d_name);
		if (lstat(path, &st) || st.st_ino != child->st_ino ||
		    st.st_dev != child->st_dev)
			continue;
		strcpy(name, entry->d_name);
		found = 0;
	}
	closedir(dir);
	if (found)
		errno = ENOENT;
	return found;
}

char *getcwd(char *buf, size_t size)
{
	char up[PATH_MAX] = ".", name[NAME_MAX + 1];
	struct stat root, here, parent;
	char *begin;

	if (size < 2) {
		errno = size ? ERANGE : EINVAL;
		return 0;
	}
	if (stat("/", &root) || stat(".", &here))
		return 0;
	begin = buf + size - 1;
	*begin = '\0';
	while (here.st_dev != root.st_dev || here.st_ino != root.st_ino) {
		size_t len = strlen(up);

		if (len + 4 > sizeof(up)) {
			errno = ENAMETOOLONG;
			return 0;
		}
		strcpy(up + len, "/..");
		if (stat(up, &parent) ||
		    find_name(up, &here, parent.st_dev != here.st_dev, name))
			return 0;
		len = strlen(name);
		if (begin - buf < (long)len + 1) {
			errno = ERANGE;
			return 0;
		}
		begin -= len;
		memcpy(begin, name, len);
		*--begin = '/';
		here = parent;
	}
	if (!*begin)
		*--begin = '/';
	return memmove(buf, begin, buf + size - begin);
}
