/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules by the thousand, straight by setsockopt(2):
 *
 * rules calls SEED NUMBER [user]: that many random calls. Each must end as the
 *	table of ours says; that table is printed. As nobody on a socket that
 *	root made, if "user": then each of ours must be refused.
 * rules listing SEED RULES SIZE: reads /proc/net/ip_portfw in pieces of SIZE
 *	bytes, edits rules between the reads, and says whether the whole was
 *	right: each rule that was there all the time once, in order, and else
 *	only what was true at some time. Rules of "churn", and those that lead
 *	from a port of 194.160.1.1 to the same of 10.0.0.2, are others'.
 * rules churn SEED: adds, replaces and removes rules every few milliseconds: of
 *	194.160.1.1's ports 20000 to 20063, to the same port of 10.0.0.4 or the
 *	next, UDP and TCP by turns. Told to end, it takes them all away and
 *	prints the number of edits.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <linux/ip_portfw.h>

#define GATEWAY	0xc2a00101	/* 194.160.1.1 */
#define SECOND	(GATEWAY + 6)	/* the stable rules' */
#define INSIDE	0x0a000000	/* 10.0.0.0 */
#define MOST	20000

static struct ip_portfw_edits table[MOST];
static int rules, fd;
static unsigned state;

static unsigned draw(unsigned below)
{
	state = state * 1664525 + 1013904223;
	return (state >> 8) % below;
}

static unsigned any(void)
{
	return draw(65536) << 16 | draw(65536);
}

#define ONE_OF(...)	({ const unsigned v[] = { __VA_ARGS__ };	\
			   v[draw(sizeof(v) / sizeof(v[0]))]; })

static void fail(const char *what)
{
	printf("%s\n", what);
	exit(1);
}

static int call(int option, const void *data, int len)
{
	return setsockopt(fd, IPPROTO_IP, option, data, len) < 0 ? errno : 0;
}

static void edit(int option, int protocol, unsigned laddr, int lport, unsigned raddr, int rport)
{
	struct ip_portfw_edits e;

	memset(&e, 0xa5, sizeof(e));
	e.protocol = protocol;
	e.laddr = laddr;
	e.lport = lport;
	e.raddr = raddr;
	e.rport = rport;
	if (call(option, &e, sizeof(e)))
		fail("an edit was refused");
}

static void line(char *to, const struct ip_portfw_edits *e)
{
	char text[64];

	sprintf(text, "%s %u.%u.%u.%u/%u > %u.%u.%u.%u/%u", e->protocol == IPPROTO_TCP ? "TCP" : "UDP",
		e->laddr >> 24, e->laddr >> 16 & 255, e->laddr >> 8 & 255, e->laddr & 255, e->lport,
		e->raddr >> 24, e->raddr >> 16 & 255, e->raddr >> 8 & 255, e->raddr & 255, e->rport);
	sprintf(to, "%-63s\n", text);
}

/* Random calls */

static int no_host(unsigned a)
{
	return a == 0 || a >= 0xe0000000 || a == INSIDE || a == INSIDE + 255 ||
		a == (GATEWAY | 255) || a == (GATEWAY & ~255);
}

static int find(const struct ip_portfw_edits *e)
{
	int i;

	for (i = 0; i < rules; i++)
		if (table[i].protocol == e->protocol && table[i].laddr == e->laddr && table[i].lport == e->lport)
			break;
	return i;
}

/* What the call ought to say; does the same to our table. */
static int model(int option, const struct ip_portfw_edits *e, int len, int readable)
{
	int i;

	if (len != sizeof(*e))
		return EINVAL;
	if (!readable)
		return EFAULT;
	if (option == IP_PORTFW_FLUSH) {
		rules = 0;
		return 0;
	}
	if ((e->protocol != IPPROTO_TCP && e->protocol != IPPROTO_UDP) || e->lport == 0 ||
	    (e->laddr && no_host(e->laddr)) || (e->lport >= IP_PORTFW_MASQ_FIRST && e->lport <= IP_PORTFW_MASQ_LAST))
		return EINVAL;
	i = find(e);
	if (option == IP_PORTFW_DEL) {
		if (i == rules)
			return ENOENT;
		rules--;
		memmove(table + i, table + i + 1, (rules - i) * sizeof(*e));
		return 0;
	}
	if (e->rport == 0 || no_host(e->raddr) || e->raddr >> 24 == 127)
		return EINVAL;
	if (i == rules)
		rules++;
	table[i] = *e;
	return 0;
}

static int calls(int number, int user)
{
	char text[65], *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ip_portfw_edits e;
	int i, got, want, option, len, ours, room;
	const void *where;

	if (page == MAP_FAILED || munmap(page + 4096, 4096))
		fail("no memory");
	if (user && setuid(65534))
		fail("cannot be nobody");
	while (number--) {
		option = draw(64) ? ONE_OF(IP_PORTFW_ADD, IP_PORTFW_ADD, IP_PORTFW_ADD, IP_PORTFW_DEL) : IP_PORTFW_FLUSH;
		if (!draw(3))
			option = ONE_OF((60 + draw(21)) | 6 << 8, (60 + draw(21)) | draw(16) << 8, any(), draw(128));
		ours = option >= IP_PORTFW_ADD && option <= IP_PORTFW_FLUSH;
		for (i = 0; i < sizeof(e); i++)
			((unsigned char *)&e)[i] = draw(256);
		if (draw(8)) {
			e.protocol = draw(16) ? ONE_OF(IPPROTO_TCP, IPPROTO_UDP) : draw(300);
			e.laddr = draw(16) ? ONE_OF(0, GATEWAY, GATEWAY + 6, INSIDE + 1) :
				ONE_OF(~0, 0xe0000001, GATEWAY | 255, GATEWAY & ~255, 0xf0000000);
			e.raddr = draw(16) ? INSIDE + 2 + draw(9) :
				ONE_OF(0, ~0, 0xe0000001, 0x7f000001, INSIDE, INSIDE + 255);
			e.lport = draw(16) ? 1 + draw(99) : ONE_OF(0, 60999, 61000, 63000, 65096, 65097, 65535);
			e.rport = draw(16) ? 1 + draw(65535) : 0;
		}
		len = draw(8) ? sizeof(e) : ONE_OF(0, 1, 4, 19, 21, 40, 4096, 65536, 0x7fffffff, ~0, 0x80000000, any());
		room = draw(8) ? sizeof(e) : draw(sizeof(e));
		where = page + 4096 - room;
		memcpy((void *)where, &e, room);
		if (!draw(16)) {
			where = (const void *)ONE_OF(0, 1, 0xbffffff0, 0xc0000000, 0xc0100000, 0xfffffff0, ~0);
			room = where == (const void *)0xbffffff0 ? 16 : 0;
		}
		got = call(option, where, len);
		if (!ours)
			continue;
		/* the kernel looks at an int of any argument first */
		want = where && room < 4 ? EFAULT : user ? EPERM : model(option, &e, len, room == sizeof(e));
		if (got != want) {
			sprintf(text, "option %d, length %d, room %d: %d, not %d", option, len, room, got, want);
			fail(text);
		}
	}
	for (i = 0; i < rules; i++) {
		line(text, table + i);
		write(1, text, 64);
	}
	return 0;
}

/* Listings */

#define CHURN	500
#define VERSIONS 65536

static struct {
	unsigned char live, touched;	/* there; come or gone meanwhile */
	unsigned short version;
} churn[CHURN];
static struct {
	unsigned serial;		/* of the rule it is a version of */
	unsigned short owner;
	unsigned char over;		/* before the listing began */
} versions[VERSIONS];
static unsigned serial, version;

static void change(int i)
{
	if (churn[i].live && draw(2)) {
		edit(IP_PORTFW_DEL, IPPROTO_UDP, 0, i + 1, 0, 0);
		churn[i].live = 0;
		churn[i].touched = 1;
		return;
	}
	if (++version == VERSIONS)
		fail("out of versions");
	versions[version].serial = churn[i].live ? versions[churn[i].version].serial : ++serial;
	versions[version].owner = i;
	churn[i].touched |= !churn[i].live;
	churn[i].live = 1;
	churn[i].version = version;
	edit(IP_PORTFW_ADD, IPPROTO_UDP, 0, i + 1, INSIDE + 3, version);
}

/* The number after the nth slash. */
static int number(const char *text, int nth)
{
	while (nth)
		if (*text++ == '/')
			nth--;
	return atoi(text);
}

static void check(const char *text, int size, int stable, const unsigned *serials)
{
	struct ip_portfw_edits e;
	char want[65];
	unsigned last = 0, now;
	int i, next = 0, seen = 0, p, q, there = 0;

	sprintf(want, "%-63s\n", IP_PORTFW_HEADING);
	if (size % 64 || size == 0 || memcmp(text, want, 64))
		fail("not lines below the heading");
	for (i = 64; i < size; i += 64) {
		if (memchr(text + i, '\n', 64) != text + i + 63 || memchr(text + i, '/', 40) == NULL ||
		    memchr(strchr(text + i, '/') + 1, '/', 40) == NULL)
			fail("a line that is none");
		p = number(text + i, 1);
		q = number(text + i, 2);
		memset(&e, 0, sizeof(e));
		e.lport = p;
		e.rport = q;
		e.protocol = text[i] == 'T' ? IPPROTO_TCP : IPPROTO_UDP;
		e.laddr = text[i + 4] == '0' ? 0 : text[i + 14] == '7' ? SECOND : GATEWAY;
		e.raddr = INSIDE + (e.laddr == 0 ? 3 : p < 20000 || e.laddr == SECOND ? 2 : 4);
		line(want, &e);
		if (memcmp(text + i, want, 64))
			fail("a torn line");
		if (e.laddr == SECOND) {
			if (p != next + 1 || q != 80)
				fail("a rule is missing, twice or in the wrong place");
			now = serials[next++];
		} else if (e.laddr == 0) {
			if (p > CHURN || versions[q].owner != p - 1 || versions[q].over || q > version || q == 0)
				fail("a rule that has never been so");
			now = versions[q].serial;
			seen += !churn[p - 1].touched;
		} else {
			if (q != p && (q != p + 1 || p < 20000))
				fail("another's rule that has never been so");
			continue;
		}
		if (now <= last)
			fail("rules in the wrong order");
		last = now;
	}
	for (i = 0; i < CHURN; i++)
		there += churn[i].live && !churn[i].touched;
	if (next != stable || seen != there)
		fail("rules are missing");
}

static int listing(int stable, int size)
{
	int i, j, n, round, len = 0, room = (stable + 2 * CHURN + 1000) * 64;
	unsigned *serials = malloc((stable + 1) * sizeof(*serials));
	char *text = malloc(room + size);

	if (!serials || !text)
		fail("no memory");
	for (i = j = 0; i < stable || j < CHURN; ) {
		if (j < CHURN && (i == stable || !draw(1 + stable / CHURN)))
			change(j++);
		else {
			edit(IP_PORTFW_ADD, IPPROTO_TCP, SECOND, i + 1, INSIDE + 2, 80);
			serials[i++] = ++serial;
		}
	}
	for (round = 0; round < 3; round++, len = 0) {
		for (i = 1; i <= version; i++)
			versions[i].over = !churn[versions[i].owner].live || churn[versions[i].owner].version != i;
		for (i = 0; i < CHURN; i++)
			churn[i].touched = 0;
		i = open("/proc/net/ip_portfw", O_RDONLY);
		while ((n = read(i, text + len, size)) > 0) {
			len += n;
			if (len > room)
				fail("a listing without end");
			/* about so often that half of them change meanwhile */
			if (draw((stable + CHURN) * 64) < size * CHURN / 2)
				change(draw(CHURN));
		}
		close(i);
		check(text, len, stable, serials);
	}
	for (i = 0; i < stable; i++)
		edit(IP_PORTFW_DEL, IPPROTO_TCP, SECOND, i + 1, 0, 0);
	for (i = 0; i < CHURN; i++)
		if (churn[i].live)
			edit(IP_PORTFW_DEL, IPPROTO_UDP, 0, i + 1, 0, 0);
	return 0;
}

/* Changes all the time */

#define PROTOCOL(i)	((i) & 1 ? IPPROTO_TCP : IPPROTO_UDP)

static int enough;

static void end(int signal)
{
	enough = 1;
}

static int churning(void)
{
	char live[64] = "";
	unsigned long edits = 0;
	int i, n;

	signal(SIGTERM, end);
	while (!enough) {
		struct timeval pause = { 0, 2000 };

		for (n = 0; n < 4; n++, edits++) {
			i = draw(64);
			if (live[i] && draw(2)) {
				edit(IP_PORTFW_DEL, PROTOCOL(i), GATEWAY, 20000 + i, 0, 0);
				live[i] = 0;
			} else {
				edit(IP_PORTFW_ADD, PROTOCOL(i), GATEWAY, 20000 + i, INSIDE + 4,
				     20000 + i + draw(2));
				live[i] = 1;
			}
		}
		select(0, NULL, NULL, NULL, &pause);
	}
	for (i = 0; i < 64; i++) {
		edit(IP_PORTFW_ADD, PROTOCOL(i), GATEWAY, 20000 + i, INSIDE + 4, 20000 + i);
		edit(IP_PORTFW_DEL, PROTOCOL(i), GATEWAY, 20000 + i, 0, 0);
	}
	printf("%lu\n", edits + 128);
	return 0;
}

int main(int argc, char **argv)
{
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (fd < 0 || argc < 3)
		return 255;
	state = atoi(argv[2]);
	if (!strcmp(argv[1], "calls") && argc > 3)
		return calls(atoi(argv[3]), argc > 4);
	if (!strcmp(argv[1], "listing") && argc > 4)
		return listing(atoi(argv[3]), atoi(argv[4]));
	if (!strcmp(argv[1], "churn"))
		return churning();
	return 255;
}
