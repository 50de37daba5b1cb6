/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * add_rules FIRST NUMBER: adds that many rules, half of them TCP and half UDP,
 * from ports of 194.160.1.1, beginning with FIRST, to the same of 10.0.0.2.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <linux/ip_portfw.h>

int main(int argc, char **argv)
{
	struct ip_portfw_edits e;
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), first, number, i;

	if (fd < 0 || argc != 3)
		return 2;
	first = atoi(argv[1]);
	number = atoi(argv[2]);
	memset(&e, 0, sizeof(e));
	e.laddr = 0xc2a00101;
	e.raddr = 0x0a000002;
	for (i = 0; i < number; i++) {
		e.protocol = i & 1 ? IPPROTO_UDP : IPPROTO_TCP;
		e.lport = e.rport = first + i / 2;
		if (setsockopt(fd, IPPROTO_IP, IP_PORTFW_ADD, &e, sizeof(e)) < 0) {
			perror("add_rules");
			return 1;
		}
	}
	return 0;
}
