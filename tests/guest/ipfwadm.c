/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ipfwadm: sets and lists the IP firewall, accounting and masquerading of
 * Linux 2.0, with the options and listings of the customary tool of that name.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The kernel's side. A rule and a packet to check as the i386 kernel lays them
 * out; pointers, which mean nothing to it when they come from here, as numbers.
 */
#define MAX_PORTS	10
#define NAME_SIZE	16
#define HZ		100

struct rule {
	uint32_t next;
	uint32_t src, dst, src_mask, dst_mask;	/* network byte order */
	uint32_t via;				/* network byte order */
	uint32_t via_device;
	uint16_t flags;
	uint16_t nsrc, ndst;	/* how many of ports[] */
	uint16_t ports[MAX_PORTS];	/* sources, destinations, redirection */
	uint32_t packets, bytes;
	uint8_t tos_and, tos_xor;
	char name[NAME_SIZE];
};

struct packet {
	uint8_t version_length, tos;
	uint16_t total, id, fragment;
	uint8_t ttl, protocol;
	uint16_t checksum;
	uint32_t src, dst;
	union {
		struct {
			uint16_t src, dst;
		} port;
		uint8_t icmp_type;
		struct {
			uint8_t before[13], flags;
		} tcp;
		uint8_t space[20];
	} header;
	uint32_t via;
	char name[NAME_SIZE];
};

struct timeouts {
	int32_t tcp, tcp_fin, udp;
};

typedef char rule_is_84_bytes[sizeof(struct rule) == 84 ? 1 : -1];
typedef char packet_is_60_bytes[sizeof(struct packet) == 60 ? 1 : -1];

enum {	/* rule flags */
	ALL = 0, TCP = 1, UDP = 2, ICMP = 3, KIND = 3,
	ACCEPT = 0x4, SRC_RANGE = 0x8, DST_RANGE = 0x10, LOG = 0x20, BOTH_WAYS = 0x40,
	SYN = 0x80, REJECT = 0x100, MASQUERADE = 0x200, ACK = 0x400, REDIRECT = 0x800,
	COUNT_IN = 0x1000, COUNT_OUT = 0x2000,
	POLICY = ACCEPT | REJECT | MASQUERADE | REDIRECT,
};

enum {	/* socket options: one of these, the chain's number above */
	INSERT = 64, APPEND, DELETE, FLUSH, ZERO, SET_POLICY, CHECK, SET_TIMEOUTS,
	CHAIN_SHIFT = 8,
};

static const struct category {
	char letter;
	int chain;
	const char *proc, *title;
} categories[] = {
	{ 'F', 0, "/proc/net/ip_forward", "IP firewall forward rules" },
	{ 'I', 1, "/proc/net/ip_input", "IP firewall input rules" },
	{ 'O', 2, "/proc/net/ip_output", "IP firewall output rules" },
	{ 'A', 3, "/proc/net/ip_acct", "IP accounting rules" },
	{ 'M', 0, "/proc/net/ip_masquerade", "IP masquerading entries" },
};

static const char usage[] =
	"usage: ipfwadm -A [in|out|both] command [parameters] [options]\n"
	"       ipfwadm -I|-O|-F command [parameters] [options]\n"
	"       ipfwadm -M -l|-s [options]\n"
	"\n"
	"commands:\n"
	"  -a [policy]         append a rule\n"
	"  -i [policy]         insert a rule before all others\n"
	"  -d [policy]         delete a rule\n"
	"  -p policy           set what becomes of packets no rule is about\n"
	"  -l                  list the rules, or the masqueraded connections\n"
	"  -z                  zero the counters (with -l: after reading them)\n"
	"  -f                  flush: delete all rules\n"
	"  -c                  check what would become of a packet\n"
	"  -s tcp tcpfin udp   set masquerading's timeouts, in seconds; 0: keep\n"
	"  -h                  show this help\n"
	"policies: accept, deny, reject, masquerade (with -F), or their beginnings\n"
	"\n"
	"parameters:\n"
	"  -P protocol         tcp, udp, icmp or all\n"
	"  -S address[/mask] [port ...]   source; ports: number, name or low:high;\n"
	"                      with -P icmp the types\n"
	"  -D address[/mask] [port ...]   destination\n"
	"  -V address          address of the interface\n"
	"  -W name             name of the interface\n"
	"\n"
	"options:\n"
	"  -b                  both ways: with source and destination exchanged, too\n"
	"  -k                  TCP packets with ACK only\n"
	"  -y                  TCP packets with SYN and without ACK only\n"
	"  -m                  masquerade what a forward rule accepts\n"
	"  -o                  log packets\n"
	"  -r [port]           redirect what an input rule accepts to a local port\n"
	"  -t and xor          masks that change the type of service, hexadecimal\n"
	"  -e -n -x            list more; numbers, no names; counters in full\n";

static void fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void fail(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, fmt);
	fputs("ipfwadm: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}


/*
 * The command line. Words are taken by hand, because options here take a
 * varying number of them.
 */
static char **words;	/* the next ones */
static char *letters;	/* the rest of the word at hand */

/* An option's value, joined to its letter or the next word. */
static char *optional(void)
{
	char *value = letters;

	if (!*value) {
		if (!*words || **words == '-')
			return NULL;
		value = *words++;
	}
	letters = "";
	return value;
}

static char *value(char option)
{
	char *v = optional();

	if (!v)
		fail("-%c must be followed by its value: ipfwadm -h shows the usage", option);
	return v;
}

static unsigned long number(const char *s, int base, unsigned long max, const char *what)
{
	unsigned long n;
	char *end;

	n = strtoul(s, &end, base);
	/* strtoul() takes signs and blanks too */
	if (!isxdigit((unsigned char)*s) || *end || n > max)
		fail("%s '%s' is not a number from 0 to %lu", what, s, max);
	return n;
}

static int policy(const char *word)
{
	static const struct {
		const char *name;
		int flags;
	} policies[] = {
		{ "accept", ACCEPT }, { "deny", 0 }, { "reject", REJECT },
		{ "masquerade", ACCEPT | MASQUERADE },
	};
	unsigned i;

	for (i = 0; i < sizeof(policies) / sizeof(*policies); i++)
		if (*word && !strncmp(policies[i].name, word, strlen(word)))
			return policies[i].flags;
	fail("policy '%s' is none of accept, deny, reject and masquerade", word);
}

static int protocol(const char *word)
{
	static const char *const names[] = { "all", "tcp", "udp", "icmp" };
	int i;

	for (i = 0; i < 4; i++)
		if (!strcmp(names[i], word))
			return i;
	fail("protocol '%s' is none of tcp, udp, icmp and all", word);
}

/* a.b.c.d, and 0 by itself since everybody writes 0/0; network byte order. */
static int dotted(const char *s, uint32_t *addr)
{
	uint32_t host = 0;
	int i, digits, n;

	if (!strcmp(s, "0")) {
		*addr = 0;
		return 1;
	}
	for (i = 0; i < 4; i++) {
		for (n = digits = 0; isdigit((unsigned char)*s) && digits < 3; digits++)
			n = n * 10 + *s++ - '0';
		if (!digits || n > 255 || *s != (i < 3 ? '.' : 0))
			return 0;
		host = host << 8 | n;
		s++;
	}
	*addr = htonl(host);
	return 1;
}

/*
 * The entry of /etc/hosts for a name, or if that is NULL for an address. Nobody
 * else is asked: a gateway setting up its firewall has nobody to ask yet.
 */
static struct hostent *known_host(const char *name, const struct in_addr *addr)
{
	struct hostent *host;
	char **alias;

	sethostent(0);
	while ((host = gethostent())) {
		if (host->h_addrtype != AF_INET)
			continue;
		if (!name && !memcmp(host->h_addr_list[0], addr, sizeof(*addr)))
			break;
		if (name && !strcasecmp(host->h_name, name))
			break;
		for (alias = host->h_aliases; name && *alias && strcasecmp(*alias, name); alias++)
			;
		if (name && *alias)
			break;
	}
	endhostent();
	return host;
}

static uint32_t address(const char *s)
{
	struct hostent *host;
	uint32_t addr;

	if (dotted(s, &addr))
		return addr;
	host = known_host(s, NULL);
	if (!host)
		fail("'%s' is neither an address such as 10.0.0.2 nor in /etc/hosts", s);
	memcpy(&addr, host->h_addr_list[0], sizeof(addr));
	return addr;
}

/* address[/mask], the mask as a number of bits or dotted. */
static void network(char *s, uint32_t *addr, uint32_t *mask)
{
	char *slash = strchr(s, '/');
	int bits = 32;

	if (slash)
		*slash++ = 0;
	if (!strcmp(s, "any")) {
		*addr = 0;
		bits = 0;
	} else {
		*addr = address(s);
	}
	if (!slash || !strchr(slash, '.')) {
		if (slash)
			bits = number(slash, 10, 32, "mask");
		*mask = htonl(bits ? 0xffffffff << (32 - bits) : 0);
	} else if (!dotted(slash, mask)) {
		fail("mask '%s' is neither a number of bits nor like 255.255.255.0", slash);
	}
	*addr &= *mask;	/* what the kernel compares with */
}

static int port(const char *s, int kind)
{
	struct servent *service;

	if (kind == ICMP)
		return number(s, 10, 255, "ICMP type");
	if (isalpha((unsigned char)*s)) {
		service = getservbyname(s, kind == TCP ? "tcp" : "udp");
		if (!service)
			fail("port '%s' is neither a number nor a known service", s);
		return ntohs(service->s_port);
	}
	return number(s, 10, 65535, "port");
}

/* One side of a rule, -S or -D, as written. */
struct side {
	char *address;
	char *port[MAX_PORTS];
	int nports;
};

static void parse_side(struct side *side, char option)
{
	if (side->address)
		fail("-%c is there twice: give it once", option);
	side->address = value(option);
	while (*words && **words != '-') {
		if (side->nports == MAX_PORTS)
			fail("-%c has more than %d ports", option, MAX_PORTS);
		side->port[side->nports++] = *words++;
	}
}

/* Adds the ports of one side to the rule's. Returns how many it added. */
static int ports(struct rule *rule, struct side *side, int range_flag)
{
	int kind = rule->flags & KIND, have = rule->nsrc + rule->ndst, n = 0, i;
	uint16_t *to = rule->ports + have;
	char *colon;

	for (i = 0; i < side->nports; i++) {
		colon = strchr(side->port[i], ':');
		if (have + n + (colon ? 2 : 1) > MAX_PORTS)
			fail("more than %d ports in a rule (a range counts as two)", MAX_PORTS);
		if (!colon) {
			to[n++] = port(side->port[i], kind);
			continue;
		}
		if (i)
			fail("port range '%s' must be the first one after the address: "
			     "the kernel knows one range a side", side->port[i]);
		rule->flags |= range_flag;
		*colon = 0;
		to[n++] = *side->port[i] ? port(side->port[i], kind) : 0;
		to[n++] = colon[1] ? port(colon + 1, kind) : 65535;
		if (to[0] > to[1])
			fail("port range '%s:%s' ends before it begins", side->port[i], colon + 1);
	}
	return n;
}

/*
 * Listings.
 */
static int extended, numeric, exact;

/* Reads all of a file in /proc, by calls as large as the kernel likes them. */
static char *contents(const char *path, int mode)
{
	size_t size = 0, used = 0;
	char *text = NULL;
	int fd, n;

	fd = open(path, mode);
	if (fd < 0 && errno == ENOENT)
		fail("there is no %s: mount /proc if it is not mounted, "
		     "else this kernel was built without it", path);
	if (fd < 0)
		fail("cannot open %s: %s", path, strerror(errno));
	do {
		if (size - used < 4096 + 1) {
			size += 16384;
			text = realloc(text, size);
			if (!text)
				fail("out of memory");
		}
		n = read(fd, text + used, 4096);
		if (n < 0)
			fail("cannot read %s: %s", path, strerror(errno));
		used += n;
	} while (n);
	text[used] = 0;
	close(fd);
	return text;
}

/* Takes a number and what stands around it: blanks before, ends[] after. */
static unsigned long take(char **p, int base, const char *ends)
{
	unsigned long n;
	char *end;

	n = strtoul(*p, &end, base);
	if (end == *p || strncmp(end, ends, strlen(ends)))
		fail("cannot understand the kernel's list at '%.40s'", *p);
	*p = end + strlen(ends);
	return n;
}

static void take_text(char **p, const char *text)
{
	if (strncmp(*p, text, strlen(text)))
		fail("cannot understand the kernel's list at '%.40s'", *p);
	*p += strlen(text);
}

static void print_count(unsigned long n)
{
	static const char units[] = "KMG";
	int unit = -1;

	if (exact) {
		printf("%8lu ", n);
		return;
	}
	while (n > (unit < 0 ? 99999 : 9999)) {
		n = (n + 500) / 1000;
		unit++;
	}
	if (unit < 0)
		printf("%5lu ", n);
	else
		printf("%4lu%c ", n, units[unit]);
}

/* Addresses and masks in host byte order. */
static void print_place(uint32_t addr, uint32_t mask, int width)
{
	struct in_addr in = { htonl(addr) };
	struct hostent *host;
	char text[128];
	int bits = 0;

	snprintf(text, sizeof(text), "%s", inet_ntoa(in));
	if (mask == 0xffffffff) {
		host = numeric ? NULL : known_host(NULL, &in);
		if (host)
			snprintf(text, sizeof(text), "%s", host->h_name);
	} else if (mask == 0 && !numeric) {
		strcpy(text, "anywhere");
	} else if ((mask | (mask - 1)) == 0xffffffff || mask == 0) {
		while (bits < 32 && mask << bits)
			bits++;
		sprintf(text + strlen(text), "/%d", bits);
	} else {
		in.s_addr = htonl(mask);
		sprintf(text + strlen(text), "/%s", inet_ntoa(in));
	}
	printf("%-*s ", width, text);
}

static void print_port(int port, int kind)
{
	struct servent *service = NULL;

	if (!numeric && kind != ICMP)
		service = getservbyport(htons(port), kind == TCP ? "tcp" : "udp");
	if (service)
		fputs(service->s_name, stdout);
	else
		printf("%d", port);
}

static void print_ports(const uint16_t *port, int n, int range, int kind)
{
	int i;

	if (!n)
		fputs(numeric ? "*" : "any", stdout);
	for (i = 0; i < n; i++) {
		if (i)
			putchar(i == 1 && range ? ':' : ',');
		print_port(port[i], kind);
	}
}

static void print_rule(const struct rule *r, int accounting)
{
	static const char *const kinds[] = { "all", "tcp", "udp", "icmp" };
	int kind = r->flags & KIND, to;

	if (extended || accounting) {
		print_count(r->packets);
		print_count(r->bytes);
	}
	if (accounting)
		printf("%-3s ", r->flags & COUNT_IN ? "in" : r->flags & COUNT_OUT ? "out" : "i/o");
	else
		printf("%-5s ", !(r->flags & ACCEPT) ? r->flags & REJECT ? "rej" : "deny" :
		       r->flags & REDIRECT ? "acc/r" : r->flags & MASQUERADE ? "acc/m" : "acc");
	printf("%-4s ", kinds[kind]);
	if (extended) {
		printf("%c%c%c%c ", r->flags & BOTH_WAYS ? 'b' : '-', r->flags & ACK ? 'k' : '-',
		       r->flags & SYN ? 'y' : '-', r->flags & LOG ? 'o' : '-');
		if (!accounting)
			printf("0x%02X 0x%02X ", r->tos_and, r->tos_xor);
		printf("%-7.16s ", *r->name ? r->name : numeric ? "*" : "any");
		if (r->via || numeric)
			print_place(r->via, 0xffffffff, 15);
		else
			printf("%-15s ", "any");
	}
	print_place(r->src, r->src_mask, 20);
	print_place(r->dst, r->dst_mask, 20);
	if (kind == ALL) {
		fputs("n/a", stdout);
	} else {
		print_ports(r->ports, r->nsrc, r->flags & SRC_RANGE, kind);
		if (kind != ICMP) {
			fputs(" -> ", stdout);
			print_ports(r->ports + r->nsrc, r->ndst, r->flags & DST_RANGE, kind);
		}
	}
	if (r->flags & REDIRECT) {
		to = r->ports[r->nsrc + r->ndst];
		fputs(" => ", stdout);
		print_ports(r->ports + r->nsrc + r->ndst, to != 0, 0, kind);
	}
	putchar('\n');
}

static void list_rules(const struct category *category, int zero)
{
	/* The kernel zeroes what is read by someone who may also write. */
	char *p = contents(category->proc, zero ? O_RDWR : O_RDONLY);
	int accounting = category->letter == 'A', flags, i;
	struct rule r;

	fputs(category->title, stdout);
	p += strcspn(p, ",\n");
	if (!accounting) {
		take_text(&p, ", default ");
		flags = take(&p, 10, "\n");
		printf(", default policy: %s", !(flags & ACCEPT) ? flags & REJECT ? "reject" : "deny" :
		       flags & MASQUERADE ? "accept/masquerade" : "accept");
	} else {
		take_text(&p, "\n");
	}
	if (extended || accounting)
		fputs(exact ? "\n    pkts    bytes " : "\n pkts bytes ", stdout);
	else
		putchar('\n');
	fputs(accounting ? "dir prot " : "type  prot ", stdout);
	if (extended)
		printf("opt  %sifname  ifaddress       ", accounting ? "" : "tosa tosx ");
	puts("source               destination          ports");

	while (*p) {
		memset(&r, 0, sizeof(r));
		r.src = take(&p, 16, "/");
		r.src_mask = take(&p, 16, "->");
		r.dst = take(&p, 16, "/");
		r.dst_mask = take(&p, 16, " ");
		for (i = 0; *p && *p != ' '; p++)
			if (i < NAME_SIZE - 1)
				r.name[i++] = *p;
		if (!strcmp(r.name, "-"))
			*r.name = 0;
		r.via = take(&p, 16, " ");
		r.flags = take(&p, 16, " ");
		r.nsrc = take(&p, 10, " ");
		r.ndst = take(&p, 10, " ");
		r.packets = take(&p, 10, " ");
		r.bytes = take(&p, 10, " ");
		for (i = 0; i < MAX_PORTS; i++)
			r.ports[i] = take(&p, 10, i < MAX_PORTS - 1 ? " " : " A");
		r.tos_and = take(&p, 16, " X");
		r.tos_xor = take(&p, 16, "\n");
		if (r.nsrc + r.ndst > MAX_PORTS - (r.flags & REDIRECT ? 1 : 0))
			fail("the kernel's list has a rule with more than %d ports", MAX_PORTS);
		print_rule(&r, accounting);
	}
}

static void list_connections(const struct category *category)
{
	char *p = contents(category->proc, O_RDONLY), name[8];
	unsigned long src, dst, sport, dport, mport, sequence, expires;
	long delta, previous;
	int i, kind;

	puts(category->title);
	printf("prot expire   %ssource               destination          ports\n",
	       extended ? "initseq  delta prevd " : "");
	p += strcspn(p, "\n");
	while (*p && *++p) {
		for (i = 0; isalpha((unsigned char)*p); p++)
			if (i < (int)sizeof(name) - 1)
				name[i++] = tolower((unsigned char)*p);
		name[i] = 0;
		src = take(&p, 16, ":");
		sport = take(&p, 16, " ");
		dst = take(&p, 16, ":");
		dport = take(&p, 16, " ");
		mport = take(&p, 16, " ");
		sequence = take(&p, 16, " ");
		delta = (long)take(&p, 10, " ");
		previous = (long)take(&p, 10, " ");
		expires = take(&p, 10, "");
		p += strcspn(p, "\n");

		printf("%-4s %02lu:%02lu.%02lu ", name, expires / HZ / 60, expires / HZ % 60,
		       expires % HZ * 100 / HZ);
		if (extended)
			printf("%08lX %5ld %5ld ", sequence, delta, previous);
		print_place(src, 0xffffffff, 20);
		print_place(dst, 0xffffffff, 20);
		kind = !strcmp(name, "tcp") ? TCP : !strcmp(name, "udp") ? UDP : ICMP;
		print_port(sport, kind);
		printf(" (%lu) -> ", mport);
		print_port(dport, kind);
		putchar('\n');
	}
}

/*
 * Commands.
 */
static int ask_kernel(int option, const void *argument, int size)
{
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), error = 0;

	if (fd < 0 || setsockopt(fd, IPPROTO_IP, option, argument, size))
		error = errno;
	if (error == EPERM || error == EACCES)
		fail("not permitted: only root may do this");
	if (error == ENOPROTOOPT)
		fail("this kernel was built without it: it must have CONFIG_IP_FIREWALL, "
		     "or CONFIG_IP_ACCT for -A");
	if (fd < 0)
		fail("cannot open a raw socket: %s", strerror(error));
	close(fd);
	return error;
}

/*
 * What the command line asks for.
 */
static struct {
	const struct category *category;
	char command;
	int zero;
	int policy;	/* flags, -1: none given */
	struct side src, dst;
	char *redirect;
	struct rule rule;
	struct timeouts timeouts;
} want;

static int seconds(void)
{
	return HZ * number(value('s'), 10, 10000000, "timeout");
}

static void parse_category(char letter)
{
	char *direction;
	unsigned i;

	if (want.category)
		fail("-%c and -%c are two categories: give one of -A, -I, -O, -F, -M",
		     want.category->letter, letter);
	for (i = 0; categories[i].letter != letter; i++)
		;
	want.category = &categories[i];
	if (letter != 'A' || !(direction = optional()))
		return;
	if (!strcmp(direction, "in"))
		want.rule.flags |= COUNT_IN;
	else if (!strcmp(direction, "out"))
		want.rule.flags |= COUNT_OUT;
	else if (strcmp(direction, "both"))
		fail("direction '%s' is none of in, out and both", direction);
}

static void parse_command(char letter)
{
	char *word;

	if (want.command)
		fail("-%c and -%c are two commands: give one", want.command, letter);
	want.command = letter;
	if (strchr("aidp", letter) && (word = optional()))
		want.policy = policy(word);
	if (letter == 's') {
		want.timeouts.tcp = seconds();
		want.timeouts.tcp_fin = seconds();
		want.timeouts.udp = seconds();
	}
}

static void parse_parameter(char letter)
{
	struct rule *rule = &want.rule;
	char *word;

	switch (letter) {
	case 'P':
		rule->flags = (rule->flags & ~KIND) | protocol(value(letter));
		break;
	case 'S':
		parse_side(&want.src, letter);
		break;
	case 'D':
		parse_side(&want.dst, letter);
		break;
	case 'V':
		rule->via = address(value(letter));
		break;
	case 'W':
		word = value(letter);
		if (strlen(word) >= NAME_SIZE)
			fail("interface '%s' has more than %d letters", word, NAME_SIZE - 1);
		strcpy(rule->name, word);
		break;
	case 'b':
		rule->flags |= BOTH_WAYS;
		break;
	case 'k':
		rule->flags |= ACK;
		break;
	case 'y':
		rule->flags |= SYN;
		break;
	case 'm':
		rule->flags |= MASQUERADE;
		break;
	case 'o':
		rule->flags |= LOG;
		break;
	case 'r':
		rule->flags |= REDIRECT;
		want.redirect = optional();
		break;
	case 't':
		rule->tos_and = number(value(letter), 16, 255, "-t");
		rule->tos_xor = number(value(letter), 16, 255, "-t");
		break;
	default:
		fail("unknown option -%c: ipfwadm -h shows the known ones", letter);
	}
}

static void parse(char **arguments)
{
	char c;

	want.policy = -1;
	want.rule.tos_and = 0xff;
	words = arguments;
	while (*words) {
		letters = *words++;
		if (*letters++ != '-' || !*letters)
			fail("unexpected argument '%s': ipfwadm -h shows the usage", words[-1]);
		while ((c = *letters)) {
			letters++;
			if (strchr("AIOFM", c))
				parse_category(c);
			else if (strchr("aidplfcsh", c))
				parse_command(c);
			else if (c == 'z')
				want.zero = 1;
			else if (c == 'e')
				extended = 1;
			else if (c == 'n')
				numeric = 1;
			else if (c == 'x')
				exact = 1;
			else
				parse_parameter(c);
		}
	}
	if (!want.command && want.zero)
		want.command = 'z';
}

/* Completes the rule that -a, -i, -d and -c are about. */
static void complete_rule(void)
{
	struct rule *rule = &want.rule;
	char category = want.category->letter;
	int kind = rule->flags & KIND;

	if (category == 'A' && (want.policy >= 0 || rule->flags & POLICY))
		fail("accounting rules have no policy: -%c stands without one, "
		     "and without -m and -r", want.command);
	if (category != 'A' && want.command != 'c') {
		if (want.policy < 0)
			fail("-%c needs a policy: accept, deny, reject or masquerade", want.command);
		if (rule->flags & POLICY && !(want.policy & ACCEPT))
			fail("-m and -r go with the policy accept only");
		rule->flags |= want.policy;
	}
	if (rule->flags & MASQUERADE && category != 'F')
		fail("masquerading goes with forward rules (-F) only");
	if (rule->flags & REDIRECT && (category != 'I' || (kind != TCP && kind != UDP)))
		fail("-r goes with input rules (-I) for -P tcp or -P udp only");
	if (rule->flags & (SYN | ACK) && kind != TCP)
		fail("-k and -y go with -P tcp only");
	if (category == 'A' && (rule->tos_and != 0xff || rule->tos_xor))
		fail("-t goes with firewall rules only");
	if ((want.src.nports && kind == ALL) || (want.dst.nports && (kind == ALL || kind == ICMP)))
		fail("ports go with -P tcp and -P udp only (ICMP types: after -S)");

	if (want.src.address)
		network(want.src.address, &rule->src, &rule->src_mask);
	if (want.dst.address)
		network(want.dst.address, &rule->dst, &rule->dst_mask);
	rule->nsrc = ports(rule, &want.src, SRC_RANGE);
	rule->ndst = ports(rule, &want.dst, DST_RANGE);
	if (rule->flags & REDIRECT) {
		if (rule->nsrc + rule->ndst == MAX_PORTS)
			fail("more than %d ports in a rule with -r", MAX_PORTS - 1);
		if (want.redirect)
			rule->ports[rule->nsrc + rule->ndst] = port(want.redirect, kind);
	}
}

static void check(int option)
{
	const struct rule *rule = &want.rule;
	struct packet packet;
	const char *verdict;
	int kind, error;

	complete_rule();
	kind = rule->flags & KIND;
	if (kind == ALL || !rule->via || !*rule->name || !want.src.address || !want.dst.address ||
	    rule->nsrc != 1 || rule->ndst != (kind != ICMP))
		fail("-c needs -P, -V, -W, and -S and -D with one port each "
		     "(-P icmp: -S with one type, -D with none)");

	memset(&packet, 0, sizeof(packet));
	packet.version_length = 0x45;
	packet.total = htons(40);
	packet.ttl = 64;
	packet.src = rule->src;
	packet.dst = rule->dst;
	packet.via = rule->via;
	memcpy(packet.name, rule->name, NAME_SIZE);
	if (kind == ICMP) {
		packet.protocol = IPPROTO_ICMP;
		packet.header.icmp_type = rule->ports[0];
	} else {
		packet.protocol = kind == TCP ? IPPROTO_TCP : IPPROTO_UDP;
		packet.header.port.src = htons(rule->ports[0]);
		packet.header.port.dst = htons(rule->ports[1]);
	}
	if (kind == TCP)
		packet.header.tcp.flags = (rule->flags & SYN ? 0x02 : 0) |
					  (rule->flags & ACK ? 0x10 : 0);

	error = ask_kernel(option, &packet, sizeof(packet));
	switch (error) {
	case 0:
		verdict = "accepted";
		break;
	case ECONNABORTED:
		verdict = "redirected";
		break;
	case ECONNRESET:
		verdict = "masqueraded";
		break;
	case ECONNREFUSED:
		verdict = "rejected";
		break;
	case ETIMEDOUT:
		verdict = "denied";
		break;
	case EINVAL:
		fail("the kernel refused the packet: "
		     "-W must name an interface that is up, and -V be its own address");
	default:
		fail("the kernel refused the packet: %s", strerror(error));
	}
	printf("packet %s\n", verdict);
}

static void run(void)
{
	const struct category *category = want.category;
	int chain = category->chain << CHAIN_SHIFT, option, error = 0;

	if (!strchr(category->letter == 'M' ? "ls" : category->letter == 'A' ? "aidlzf" : "aidplzfc",
		    want.command))
		fail("-%c has no -%c: ipfwadm -h shows what it has", category->letter, want.command);
	if (want.zero && want.command != 'z' && (want.command != 'l' || category->letter == 'M'))
		fail("-z stands alone, or with -l of a list of rules");

	switch (want.command) {
	case 'l':
		if (category->letter == 'M')
			list_connections(category);
		else
			list_rules(category, want.zero);
		break;
	case 's':
		error = ask_kernel(SET_TIMEOUTS, &want.timeouts, sizeof(want.timeouts));
		break;
	case 'f':
	case 'z':
		option = (want.command == 'f' ? FLUSH : ZERO) | chain;
		error = ask_kernel(option, &option, sizeof(option));
		break;
	case 'p':
		if (want.policy < 0)
			fail("-p needs a policy: accept, deny, reject or masquerade");
		if (want.policy & MASQUERADE && category->letter != 'F')
			fail("masquerading goes with forwarding (-F) only");
		error = ask_kernel(SET_POLICY | chain, &want.policy, sizeof(want.policy));
		break;
	case 'c':
		check(CHECK | chain);
		break;
	default:
		option = want.command == 'a' ? APPEND : want.command == 'i' ? INSERT : DELETE;
		complete_rule();
		error = ask_kernel(option | chain, &want.rule, sizeof(want.rule));
		if (error == EINVAL && option == DELETE)
			fail("there is no such rule: -l -e lists those there are");
		if (error == EINVAL && want.rule.flags & REDIRECT)
			fail("the kernel refused -r: it must have CONFIG_IP_TRANSPARENT_PROXY");
	}
	if (error)
		fail("the kernel refused -%c: %s", want.command, strerror(error));
}

int main(int argc, char **argv)
{
	parse(argv + (argc > 0));
	if (want.command == 'h')
		fputs(usage, stdout);
	else if (!want.category)
		fail("no category: give one of -A, -I, -O, -F, -M; ipfwadm -h shows the usage");
	else if (!want.command)
		fail("no command: ipfwadm -h shows them");
	else
		run();
	if (fflush(stdout) || ferror(stdout))
		fail("cannot write the output: %s", strerror(errno));
	return 0;
}
