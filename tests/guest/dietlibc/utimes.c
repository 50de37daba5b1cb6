// SPDX-License-Identifier: GPL-2.0-only
// 2.0 keeps whole seconds only.
#include <sys/time.h>
#include <utime.h>

int utimes(const char *path, struct timeval *tv)
{
	struct utimbuf buf;

	if (!tv)
		return utime(path, 0);
	buf.actime = tv[0].tv_sec;
	buf.modtime = tv[1].tv_sec;
	return utime(path, &buf);
}
