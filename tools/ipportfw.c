/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ipportfw: sets the rules of port forwarding in the kernel.
 *
 * Compiles with any C compiler and library, today's and those of 1997:
 * gcc ipportfw.c -o ipportfw
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include "../src/include/linux/ip_portfw.h"

#define TABLE	"/proc/net/ip_portfw"

/* From here on addresses are multicast, reserved and broadcast. */
#define NO_HOST	0xe0000000

/* Exit statuses. */
#define REFUSED	1
#define USAGE	2

static const char usage[] =
	"usage: ipportfw -A -[t|u] l.l.l.l/lport -R a.a.a.a/rport\n"
	"       ipportfw -D -[t|u] l.l.l.l/lport\n"
	"       ipportfw -C\n"
	"       ipportfw -L\n"
	"       ipportfw -h\n"
	"\n"
	"  -A  forward a local port; a rule it already has is replaced\n"
	"  -D  stop forwarding a local port\n"
	"  -C  clear the table: stop forwarding every port\n"
	"  -L  list the table\n"
	"  -h  show this help\n"
	"\n"
	"  -t  local address and TCP port; address 0.0.0.0: any of this machine\n"
	"  -u  local address and UDP port\n"
	"  -R  address and port of the host that serves it\n"
	"\n"
	"example: ipportfw -A -t194.160.1.1/80 -R 10.0.0.2/80\n";

static void fail(int status, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

static void fail(int status, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("ipportfw: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	exit(status);
}

/* What the user wrote, fit for one line: no control characters, not endless. */
static const char *shown(const char *s)
{
	static char buf[48];
	int i;

	for (i = 0; s[i] && i < 40; i++)
		buf[i] = s[i] >= ' ' && s[i] <= '~' ? s[i] : '?';
	strcpy(buf + i, s[i] ? "..." : "");
	return buf;
}

/*
 * Decimal digits only: no sign, no blank, and no leading zero, which some
 * would read as octal.
 */
static int number(const char **s, unsigned max, unsigned *value)
{
	const char *p = *s;

	if (*p < '0' || *p > '9' || (*p == '0' && p[1] >= '0' && p[1] <= '9'))
		return 0;
	for (*value = 0; *p >= '0' && *p <= '9'; p++) {
		*value = *value * 10 + (*p - '0');
		if (*value > max)
			return 0;
	}
	*s = p;
	return 1;
}

static void address_port(char option, const char *arg, unsigned *addr, unsigned short *port)
{
	const char *p = arg;
	unsigned n;
	int i;

	*addr = 0;
	for (i = 0; i < 4; i++) {
		if (!number(&p, 255, &n) || *p++ != (i < 3 ? '.' : '/'))
			fail(USAGE, "-%c '%s' is not address/port such as 194.160.1.1/80, "
			     "the address of four numbers from 0 to 255 without leading zeros",
			     option, shown(arg));
		*addr = *addr << 8 | n;
	}
	if (!number(&p, 65535, &n) || n == 0 || *p)
		fail(USAGE, "-%c '%s' has no good port after the slash: "
		     "a number from 1 to 65535 without leading zeros", option, shown(arg));
	*port = n;
}

static void control(char command, int option, const struct ip_portfw_edits *rule,
		    const char *local)
{
	const char *proto = rule->protocol == IPPROTO_UDP ? "UDP" : "TCP";
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);

	if (fd >= 0 && setsockopt(fd, IPPROTO_IP, option, rule, sizeof(*rule)) == 0) {
		close(fd);
		return;
	}
	switch (errno) {
	case EPERM:
	case EACCES:
		fail(REFUSED, "not permitted: only root may change the rules");
	case ENOPROTOOPT:
		fail(REFUSED, "this is a kernel without CONFIG_IP_MASQUERADE_IPPORTFW: "
		     "boot one that has it");
	}
	if (fd < 0)
		fail(REFUSED, "cannot open a raw socket: %s", strerror(errno));
	/* The patch of 1997 calls a missing rule EINVAL. */
	if (command == 'D' && (errno == ENOENT || errno == EINVAL))
		fail(REFUSED, "there is no rule for %s %s: -L lists those there are",
		     proto, shown(local));
	if (command == 'A' && errno == EINVAL)
		fail(REFUSED, "the kernel refused the rule for %s %s: neither address may be "
		     "the broadcast address of a network of this machine", proto, shown(local));
	if (errno == ENOMEM)
		fail(REFUSED, "the kernel is out of memory: the rules are unchanged");
	fail(REFUSED, "the kernel refused -%c: %s", command, strerror(errno));
}

static void print(char c)
{
	if (putchar(c) == EOF)
		fail(REFUSED, "cannot write the list: %s", strerror(errno));
}

/* The kernel pads its lines with blanks to a fixed length: leave those out. */
static void list(void)
{
	char buf[1024];
	unsigned long blanks = 0;
	int fd, n, i;

	fd = open(TABLE, O_RDONLY);
	if (fd < 0 && errno == ENOENT)
		fail(REFUSED, "there is no " TABLE ": mount /proc if it is not mounted, "
		     "else this is a kernel without CONFIG_IP_MASQUERADE_IPPORTFW");
	if (fd < 0)
		fail(REFUSED, "cannot open " TABLE ": %s", strerror(errno));
	while ((n = read(fd, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail(REFUSED, "cannot read " TABLE ": %s", strerror(errno));
		for (i = 0; i < n; i++) {
			if (buf[i] == ' ') {
				blanks++;
				continue;
			}
			if (buf[i] == '\n')
				blanks = 0;
			for (; blanks; blanks--)
				print(' ');
			print(buf[i]);
		}
	}
	close(fd);
	if (fflush(stdout))
		fail(REFUSED, "cannot write the list: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct ip_portfw_edits rule;
	const char *local = NULL, *remote = NULL, *p, *arg;
	char command = 0, proto = 0;
	int i;

	/* Own parsing, since libraries' getopt() differ in what they permit. */
	for (i = 1; i < argc; i++) {
		if (argv[i][0] != '-' || !argv[i][1])
			fail(USAGE, "unexpected argument '%s': ipportfw -h shows the usage",
			     shown(argv[i]));
		for (p = argv[i] + 1; *p; p++) {
			switch (*p) {
			case 'A': case 'D': case 'C': case 'L': case 'h':
				if (command)
					fail(USAGE, "-%c and -%c are two commands: "
					     "give one of -A, -D, -C, -L, -h", command, *p);
				command = *p;
				continue;
			case 't': case 'u': case 'R':
				break;
			default:
				fail(USAGE, "unknown option -%s: ipportfw -h shows the known ones",
				     shown(p));
			}
			arg = p[1] ? p + 1 : argv[++i];
			if (!arg || *arg == '-')
				fail(USAGE, "-%c must be followed by address/port "
				     "such as 194.160.1.1/80", *p);
			if (*p == 'R') {
				if (remote)
					fail(USAGE, "-R is there twice: give it once");
				remote = arg;
			} else {
				if (local)
					fail(USAGE, "-%c and -%c are two local ports: "
					     "give one of -t and -u, once", proto, *p);
				local = arg;
				proto = *p;
			}
			break;
		}
	}

	if (!command)
		fail(USAGE, "no command: give one of -A, -D, -C, -L, -h");
	if (command == 'A' || command == 'D') {
		if (!local)
			fail(USAGE, "-%c needs a local port: -t l.l.l.l/lport or -u l.l.l.l/lport",
			     command);
		if (command == 'A' && !remote)
			fail(USAGE, "-A needs the host to forward to: -R a.a.a.a/rport");
		if (command == 'D' && remote)
			fail(USAGE, "-D takes no -R: the local port alone names the rule");
	} else if (local || remote) {
		fail(USAGE, "-%c stands alone: without -t, -u and -R", command);
	}

	/* What nobody sets, padding too, is to be 0. */
	memset(&rule, 0, sizeof(rule));
	if (local) {
		rule.protocol = proto == 't' ? IPPROTO_TCP : IPPROTO_UDP;
		address_port(proto, local, &rule.laddr, &rule.lport);
		if (rule.laddr >= NO_HOST)
			fail(USAGE, "-%c '%s': the address must be one of this machine or 0.0.0.0, "
			     "not a multicast or broadcast address", proto, shown(local));
		if (rule.lport >= IP_PORTFW_MASQ_FIRST && rule.lport <= IP_PORTFW_MASQ_LAST)
			fail(USAGE, "-%c '%s': local ports %d to %d belong to masquerading, "
			     "give one outside them", proto, shown(local),
			     IP_PORTFW_MASQ_FIRST, IP_PORTFW_MASQ_LAST);
	}
	if (remote) {
		address_port('R', remote, &rule.raddr, &rule.rport);
		if (rule.raddr == 0 || rule.raddr >> 24 == 127 || rule.raddr >= NO_HOST)
			fail(USAGE, "-R '%s': the address must be that of one host, "
			     "not 0.0.0.0, loopback, multicast or broadcast", shown(remote));
	}

	switch (command) {
	case 'A':
		control(command, IP_PORTFW_ADD, &rule, local);
		break;
	case 'D':
		control(command, IP_PORTFW_DEL, &rule, local);
		break;
	case 'C':
		control(command, IP_PORTFW_FLUSH, &rule, local);
		break;
	case 'L':
		list();
		break;
	case 'h':
		if (fputs(usage, stdout) == EOF || fflush(stdout))
			fail(REFUSED, "cannot write the help: %s", strerror(errno));
	}
	return 0;
}
