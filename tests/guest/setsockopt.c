/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * setsockopt [-u] OPTION [HEX]: calls setsockopt(2) at the IP level of a raw
 * socket, with the bytes of HEX, and exits with its errno. -u: as nobody, on a
 * socket that root made.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>

int main(int argc, char **argv)
{
	char bytes[512], digits[3] = "";
	const char *hex;
	int fd, len = 0, user = argc > 1 && !strcmp(argv[1], "-u");

	argv += user;
	argc -= user;
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (fd < 0 || argc < 2 || (user && setuid(65534) < 0))
		return 255;
	for (hex = argc > 2 ? argv[2] : ""; hex[0] && hex[1] && len < sizeof(bytes); hex += 2) {
		memcpy(digits, hex, 2);
		bytes[len++] = strtol(digits, NULL, 16);
	}
	return setsockopt(fd, IPPROTO_IP, atoi(argv[1]), bytes, len) < 0 ? errno : 0;
}
