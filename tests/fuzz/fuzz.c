/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	The fuzzer's input is read as a sequence of events around a gateway:
 *	packets from a small world, so that they meet, whole or spoilt; rules;
 *	time; reads and writes of the files; a lack of memory. After each it is
 *	asked whether all is as it should be.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/ip_portfw.h>
#include "fuzz.h"

#define N(array) (sizeof(array) / sizeof(*(array)))

/*
 *	The input
 */

static const uint8_t *input;
static size_t input_left;

static unsigned byte(void)
{
	if (input_left == 0)
		return 0;
	input_left--;
	return *input++;
}

static unsigned word(void)
{
	unsigned high = byte();

	return high << 8 | byte();
}

#define pick(array) ((array)[byte() % N(array)])

/*
 *	The world
 */

#define A(a, b, c, d) ((a) | (b) << 8 | (c) << 16 | (unsigned) (d) << 24)
#define OUTSIDE	A(194, 160, 1, 1)
#define ALIAS	A(194, 160, 1, 2)
#define INSIDE	A(10, 0, 0, 1)

static struct device devices[] = {
	{ "lo", devices + 1, IFF_UP | IFF_LOOPBACK, AF_INET, 3584,
	  A(127, 0, 0, 1), A(127, 255, 255, 255), 0, A(255, 0, 0, 0) },
	{ "eth0", devices + 2, IFF_UP | IFF_BROADCAST, AF_INET, 1500,
	  INSIDE, A(10, 0, 0, 255), 0, A(255, 255, 255, 0) },
	{ "eth1:0", devices + 3, IFF_UP | IFF_BROADCAST, AF_INET, 1500,
	  ALIAS, A(194, 160, 1, 255), 0, A(255, 255, 255, 0) },
	{ "ppp0", devices + 4, IFF_POINTOPOINT, AF_INET, 296,
	  0, 0, A(192, 0, 2, 1), 0xffffffff },
	{ "eth1", NULL, IFF_UP | IFF_BROADCAST, AF_INET, 576,
	  OUTSIDE, A(194, 160, 1, 255), 0, A(255, 255, 255, 0) },
};

static const __u32 clients[] = {
	A(163, 158, 1, 2), A(163, 158, 1, 3), A(194, 160, 1, 7),
	A(163, 158, 1, 2), A(10, 0, 0, 9), A(10, 0, 0, 2), OUTSIDE, INSIDE,
	A(163, 158, 1, 2), A(127, 0, 0, 1), 0, A(224, 0, 0, 5), 0xffffffff,
	A(163, 158, 1, 3), A(194, 160, 1, 255), A(0, 1, 2, 3),
};
static const __u32 locals[] = {
	OUTSIDE, OUTSIDE, ALIAS, INSIDE, OUTSIDE, A(194, 160, 1, 255),
	A(127, 0, 0, 1), A(192, 0, 2, 5), ALIAS, A(224, 0, 0, 1), 0xffffffff,
};
static const __u32 hosts[] = {
	A(10, 0, 0, 2), A(10, 0, 0, 2), A(10, 0, 0, 3), A(10, 0, 0, 2),
	A(10, 0, 0, 9), A(194, 160, 1, 7),
};
static const __u16 ports[] = {
	80, 21, 8080, 53, 20, 2121, 1024, 1025, 80, 21, 61000, 65097, 0x0c18, 0,
};

static __u16 port(void)
{
	unsigned b = byte();

	return htons(b < 240 ? ports[b % N(ports)] : word());
}

/*
 *	Packets: how one is made
 */

static union {
	struct iphdr ip;
	unsigned char bytes[2048];
} raw;

struct flow {
	int protocol;
	__u32 saddr, daddr;
	__u16 sport, dport;
};

#define FIN 1
#define SYN 2
#define RST 4
#define ACK 16

static const unsigned char tcp_kinds[] = {
	SYN, SYN | ACK, ACK, ACK, ACK | 8, FIN | ACK, RST, RST | ACK, 0,
	SYN | FIN | RST | ACK, 63,
};

static const __u32 numbers[] = { 1000, 1001, 2000, 2001, 0xffffffff, 0 };

/* Commands and answers of FTP; %s is an address in one of two styles. */
static const char *const lines[] = {
	"PORT %s\r\n", "227 Entering Passive Mode (%s).\r\n",
	"EPRT |1|%s|\r\n", "229 Entering Extended Passive Mode (|||%s|)\r\n",
	"PORT %s", "227 %s", "port %s\r\n", "EPRT |2|::1|%s|\r\n",
	"230-227 %s\r\n227 =%s\r\n", "PORT\r\n", "227 (", "229 (|||", "EPRT |",
	"EPSV\r\n", "229 (!!!%s!)\r\n", "200 PORT %s\r\n",
};

static unsigned line(char *to, unsigned room, const struct flow *f)
{
	const char *format = pick(lines);
	__u32 addr = byte() & 7 ? f->saddr : pick(hosts);
	__u16 p = ntohs(port());
	unsigned char *a = (unsigned char *) &addr;
	char text[64] = "";
	int n, style = byte();

	if (format[0] == '2' && format[1] == '2' && format[2] == '9')
		sprintf(text, "%d", p);
	else if (format[0] == 'E')
		sprintf(text, "%d.%d.%d.%d|%d", a[0], a[1], a[2], a[3], p);
	else
		sprintf(text, "%d,%d,%d,%d,%d,%d", a[0], a[1], a[2], a[3],
			style & 1 ? 256 + (p >> 8) : p >> 8, p & 255);
	if (style & 2)
		text[byte() % (sizeof(text) - 1)] = byte();
	n = snprintf(to, room, format, text, text);
	must(n < (int) room);
	if (style & 4)
		n = byte() % (n + 1);
	return n;
}

static unsigned char *transport(void *ip)
{
	return (unsigned char *) ip + ((struct iphdr *) ip)->ihl * 4;
}

/* Where in its header a transport's checksum lies */
static int check_at(int protocol)
{
	return protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : 2;
}

/*
 *	The checksum that whatever follows the IP header ought to have.
 */
static __u16 check_of(const unsigned char *p, unsigned len, int protocol,
		      __u32 saddr, __u32 daddr)
{
	int at = check_at(protocol);
	unsigned char copy[2048];
	__u16 check;

	memcpy(copy, p, len);
	copy[at] = copy[at + 1] = 0;
	if (protocol == IPPROTO_ICMP)
		return ip_compute_csum(copy, len);
	check = csum_tcpudp_magic(saddr, daddr, len, protocol,
				  csum_partial(copy, len, 0));
	return check == 0 && protocol == IPPROTO_UDP ? 0xffff : check;
}

/*
 *	Fills in the lengths and checksums of the packet in raw.
 */
static void finish(unsigned len)
{
	unsigned char *t = transport(&raw.ip);
	unsigned tlen = len - raw.ip.ihl * 4;
	__u16 check;

	raw.ip.tot_len = htons(len);
	if (raw.ip.protocol == IPPROTO_UDP)
		((struct udphdr *) t)->len = htons(tlen);
	check = check_of(t, tlen, raw.ip.protocol, raw.ip.saddr, raw.ip.daddr);
	memcpy(t + check_at(raw.ip.protocol), &check, 2);
	ip_send_check(&raw.ip);
}

/*
 *	A packet of this flow in raw; its length is returned. It is sound.
 */
static unsigned compose(const struct flow *f, unsigned flags, __u32 seq,
			__u32 ack, const void *data, unsigned data_len)
{
	unsigned char *t;
	struct tcphdr *th;

	memset(&raw, 0, sizeof(raw));
	raw.ip.version = 4;
	raw.ip.ihl = 5;
	raw.ip.ttl = 64;
	raw.ip.frag_off = htons(IP_DF);
	raw.ip.protocol = f->protocol;
	raw.ip.saddr = f->saddr;
	raw.ip.daddr = f->daddr;
	t = transport(&raw.ip);
	memcpy(t, &f->sport, 2);
	memcpy(t + 2, &f->dport, 2);
	if (f->protocol == IPPROTO_TCP) {
		th = (struct tcphdr *) t;
		th->doff = 5;
		t[13] = flags;
		th->seq = htonl(seq);
		th->ack_seq = htonl(ack);
		t += sizeof(*th);
	} else
		t += sizeof(struct udphdr);
	memcpy(t, data, data_len);
	finish(t + data_len - raw.bytes);
	return t + data_len - raw.bytes;
}

/*
 *	Spoils the packet in raw in one way. What ip_rcv() would not let pass
 *	is put right again; releases before 2.0.36 let the datagram end within
 *	its own IP header. Returns the new length.
 */
static unsigned spoil(unsigned len)
{
	unsigned char *t = transport(&raw.ip);
	unsigned n, way = byte() % 10;

	if (len < sizeof(raw.ip) + 8)
		return len;
	switch (way) {
	case 0:					/* cut off		*/
		len = word() % (len + 1);
		raw.ip.tot_len = htons(len);
		break;
	case 1:					/* options		*/
		n = (15 - raw.ip.ihl) * 4;
		n = n ? byte() % n / 4 * 4 : 0;
		memmove(raw.bytes + sizeof(raw.ip) + n,
			raw.bytes + sizeof(raw.ip), len - sizeof(raw.ip));
		memset(raw.bytes + sizeof(raw.ip), 1, n);
		raw.ip.ihl += n / 4;
		len += n;
		raw.ip.tot_len = htons(len);
		break;
	case 2:					/* options that are not there */
		raw.ip.ihl = 5 + byte() % 11;
		break;
	case 3:					/* a fragment		*/
		raw.ip.frag_off = htons(word());
		break;
	case 4:					/* wrong checksum	*/
		t[check_at(raw.ip.protocol)] ^= 1 + byte() % 255;
		break;
	case 5:					/* none			*/
		memset(t + check_at(raw.ip.protocol), 0, 2);
		break;
	case 6:					/* any byte, noticed	*/
		n = 20 + byte() % 60;
		raw.bytes[n] = byte();
		break;
	case 7:					/* any byte, hidden	*/
		n = 20 + byte() % 60;
		raw.bytes[n] = byte();
		if (len >= raw.ip.ihl * 4 + 20u &&
		    raw.ip.protocol != IPPROTO_UDP)
			finish(len);
		break;
	case 8:					/* UDP's or TCP's own length */
		if (raw.ip.protocol == IPPROTO_UDP)
			((struct udphdr *) t)->len = htons(byte());
		else if (raw.ip.protocol == IPPROTO_TCP)
			((struct tcphdr *) t)->doff = byte();
		if (len >= raw.ip.ihl * 4 + 20u) {
			__u16 check = check_of(t, len - raw.ip.ihl * 4,
					       raw.ip.protocol, raw.ip.saddr,
					       raw.ip.daddr);
			memcpy(t + check_at(raw.ip.protocol), &check, 2);
		}
		break;
	case 9:					/* another protocol	*/
		raw.ip.protocol = byte();
		break;
	}
	ip_send_check(&raw.ip);
	return len;
}

/*
 *	Packets: what became of one
 */

static int right_ip(const unsigned char *p, unsigned len)
{
	unsigned ihl = (p[0] & 15) * 4;

	return ihl >= 20 && ihl <= len && ip_fast_csum((unsigned char *) p,
						       ihl / 4) == 0;
}

/*
 *	Is the checksum behind the IP header right? 2: there is none to be
 *	judged, as some of what it covers is missing.
 */
static int right(const unsigned char *p, unsigned len)
{
	const struct iphdr *iph = (const struct iphdr *) p;
	unsigned ihl = iph->ihl * 4, tlen = ntohs(iph->tot_len) - ihl;
	const unsigned char *t = p + ihl;
	__u16 check;

	if (ntohs(iph->tot_len) < ihl || ihl + tlen > len ||
	    iph->frag_off & htons(IP_MF | IP_OFFSET))
		return 2;
	switch (iph->protocol) {
	case IPPROTO_TCP:
		if (tlen < sizeof(struct tcphdr))
			return 2;
		break;
	case IPPROTO_UDP:
		if (tlen < sizeof(struct udphdr))
			return 2;
		memcpy(&check, t + 6, 2);
		if (check == 0)
			return 2;
		if ((unsigned) (t[4] << 8 | t[5]) < sizeof(struct udphdr) ||
		    (unsigned) (t[4] << 8 | t[5]) > tlen)
			return 2;
		tlen = t[4] << 8 | t[5];
		break;
	case IPPROTO_ICMP:
		return tlen < 8 ? 2 : ip_compute_csum((unsigned char *) t,
						      tlen) == 0;
	default:
		return 2;
	}
	return csum_tcpudp_magic(iph->saddr, iph->daddr, tlen, iph->protocol,
				 csum_partial(t, tlen, 0)) == 0;
}

static struct flow flow_of(const unsigned char *p)
{
	const struct iphdr *iph = (const struct iphdr *) p;
	struct flow f = { iph->protocol, iph->saddr, iph->daddr };

	memcpy(&f.sport, p + iph->ihl * 4, 2);
	memcpy(&f.dport, p + iph->ihl * 4 + 2, 2);
	return f;
}

/* Blanks what a translation may change in a header of at most len bytes. */
static void blank(unsigned char *p, unsigned len)
{
	struct iphdr *iph = (struct iphdr *) p;
	unsigned at = iph->ihl * 4 + check_at(iph->protocol);

	iph->check = iph->saddr = iph->daddr = 0;
	if (iph->ihl * 4u + 4 <= len && !(iph->frag_off & htons(IP_OFFSET)))
		memset(p + iph->ihl * 4, 0, 4);
	if (at + 2 <= len)
		memset(p + at, 0, 2);
}

/*
 *	What was carried on is right if it was, wrong if it was, and differs
 *	in nothing but addresses, ports and checksums.
 */
static void compare(const unsigned char *before, unsigned len,
		    const struct sk_buff *skb)
{
	const unsigned char *after = skb->h.raw;
	unsigned ihl = (before[0] & 15) * 4, quote = ihl + 8;
	unsigned char a[2048], b[2048];
	int resized = 0;

	must(skb->h.raw == skb->data && skb->tail == skb->data + skb->len);
	must(right_ip(after, skb->len));
	must(right(after, skb->len) == right(before, len));
	memcpy(a, before, len);
	memcpy(b, after, skb->len);
	switch (before[9]) {
	case IPPROTO_TCP:
		/* a helper may have changed lengths, numbers and text */
		if (world.helped)
			resized = 1;
		break;
	case IPPROTO_UDP:
		must(!memcmp(a + ihl + 6, "\0", 2) ==
		     !memcmp(b + ihl + 6, "\0", 2));
		break;
	case IPPROTO_ICMP:
		must(right(before, len) == 1);
		must(quote + 20 + 8 <= len);
		if (right_ip(before + quote, len - quote))
			must(right_ip(after + quote, len - quote));
		if (right(before + quote, len - quote) == 1)
			must(right(after + quote, len - quote) == 1);
		blank(a + quote, len - quote);
		blank(b + quote, len - quote);
		break;
	default:
		must(!"another protocol is translated");
	}
	if (resized) {
		must(((struct iphdr *) after)->tot_len == htons(skb->len));
		return;
	}
	must(skb->len == len);
	blank(a, len);
	blank(b, len);
	if (before[9] == IPPROTO_ICMP)	/* no ports there */
		memcpy(b + ihl, a + ihl, 4);
	must(!memcmp(a, b, len));
}

/* The last packets that were carried on, as they came and as they went */
static struct {
	unsigned char before[2048], after[2048];
	unsigned len;
	int in, kept;
} last;

static struct inside was;

static void check(void)
{
	struct inside now = audit();

	must(now.conns <= now.conns_max ||
	     now.conns <= was.conns);
	must(now.half_open <= now.half_open_max ||
	     now.half_open <= was.half_open);
	must(world.routes == 0);
	was = now;
}

/*
 *	Does a packet to this address come to the gateway itself? An interface
 *	that waits for its address makes the real one think so of all.
 */
static int is_ours(__u32 addr)
{
	const struct device *dev;

	for (dev = devices; dev; dev = dev->next)
		if (dev->flags & IFF_UP && dev->pa_addr == addr)
			return 1;
	return LOOPBACK(addr);
}

/*
 *	With FUZZ_TRACE set, whoever replays an input sees its packets.
 */
static void trace(const char *what, const struct sk_buff *skb)
{
	unsigned char p[2048] = "", *t;
	unsigned header = skb->h.iph->ihl * 4;

	memcpy(p, skb->data, skb->len > header ? skb->len : header);
	t = transport(p);
	if (getenv("FUZZ_TRACE"))
		fprintf(stderr, "%10lu %-5s protocol %d %d.%d.%d.%d:%d > "
			"%d.%d.%d.%d:%d flags %02x length %u\n", jiffies, what,
			p[9], p[12], p[13], p[14], p[15], t[0] << 8 | t[1],
			p[16], p[17], p[18], p[19], t[2] << 8 | t[3],
			p[9] == IPPROTO_TCP ? t[13] : t[0],
			(unsigned) skb->len);
}

/*
 *	What ip_fw_demasquerade() and ip_fw_masquerade() come to, of which the
 *	latter answers 0 in two cases.
 */
#define NOT_OURS 2

static int demasquerade(struct sk_buff **skb_p, struct device *dev)
{
	ip_portfw_in_or_return(skb_p, dev);
	return 0;
}

static int masquerade(struct sk_buff **skb_p, struct device *dev)
{
	ip_portfw_out_or_return(skb_p, dev);
	return NOT_OURS;
}

static int bent;			/* what goes out comes from there, too */

/*
 *	The packet in raw comes in for the gateway, or is to be masqueraded.
 *	Returns 1 if it was changed, -1 if it is to be dropped, otherwise 0.
 *	Of one that is too short for ports, what follows may be looked at.
 */
static int carry(int in, unsigned len)
{
	unsigned size = raw.ip.ihl * 4u + 4 > len ? raw.ip.ihl * 4u + 4 : len;
	int own = in && is_ours(raw.ip.saddr) &&
		raw.ip.protocol == IPPROTO_TCP, ret;
	struct sk_buff *skb, *same, *original;
	unsigned char before[2048];
	struct device *dev;
	unsigned conns;

	/* no packet for others comes there; by a source route all may go out */
	if (!ip_portfw_active || (in && !ip_chk_addr(raw.ip.daddr)))
		return 0;
	/* nobody has the address that we are to have again */
	if (!is_ours(OUTSIDE) && (raw.ip.saddr == OUTSIDE ||
				  raw.ip.daddr == OUTSIDE))
		return 0;
	memcpy(before, raw.bytes, size);
	original = packet(raw.bytes, len, size, size == len ? len % 8 * 4 : 0);
	skb = same = own ? clone(original) : original;
	dev = ip_rt_dev(in ? raw.ip.saddr : raw.ip.daddr);
	if (dev == NULL)
		dev = devices + 4;
	skb->dev = in || bent ? dev : ip_rt_dev(raw.ip.saddr);
	if (skb->dev == NULL)
		skb->dev = devices + 1;
	enter_bh();
	conns = connections();
	world.lines = 0;
	trace(in ? "in" : "out", skb);
	if (in)
		ret = demasquerade(&skb, dev);
	else {
		ret = masquerade(&skb, dev);
		ret = ret == NOT_OURS ? 0 : ret == 0 ? 1 : ret;
	}
	leave_bh();
	trace(ret < 0 ? "drop" : ret ? "on" : "keep", skb);
	check();
	must(ret >= -1 && ret <= 1);
	must(world.lines <= 1);
	must(world.packets == 1u + own);
	if (right(before, len) == 0)
		must(was.conns <= conns);
	must(skb == same || ret != 0);
	if (ret >= 0 && (ret == 1 || memcmp(before, skb->data, size))) {
		/* an answer to the gateway itself is not carried on */
		must(ret == 1 || (in && is_ours(skb->h.iph->daddr)));
		last.kept = ret == 0;
		ret = 1;
		compare(before, len, skb);
		memcpy(last.before, before, len);
		memcpy(last.after, skb->data, skb->len);
		last.len = skb->len;
		last.in = in;
		memcpy(raw.bytes, skb->data, skb->len);
	}
	kfree_skb(skb, FREE_WRITE);
	if (own) {
		must(!memcmp(before, original->data, size));
		kfree_skb(original, FREE_WRITE);
	}
	return ret;
}

/*
 *	The same of one that has a right to be carried on, if there is memory,
 *	and a way to who sent it. Returns 0 if there is none.
 */
static int carried(int in, unsigned len)
{
	unsigned failures = world.failures;

	if (carry(in, len) == 1)
		return 1;
	must(world.failures != failures || world.unreachable);
	return 0;
}

/*
 *	A packet of the same flow the other way round comes back, and must be
 *	found to be the answer.
 */
static void answer(void)
{
	struct flow asked, went, f;
	unsigned char data = 'x';
	unsigned len;
	int protocol = ((struct iphdr *) last.before)->protocol;

	if (!last.len || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return;
	asked = flow_of(last.before);
	went = flow_of(last.after);
	f = went;
	f.saddr = went.daddr;
	f.sport = went.dport;
	f.daddr = went.saddr;
	f.dport = went.sport;
	/* addresses that are no longer ours, or not yet */
	if (!is_ours(f.daddr) && (!last.in || ip_chk_addr(f.daddr)))
		return;
	if (byte() == 1) {
		/* with a bent route, and of no right to anything */
		bent = byte() & 1;
		carry(0, compose(&f, byte(), 2001, 1001, &data, 1));
		bent = 0;
		return;
	}
	len = compose(&f, ACK, 2001, 1001, &data, 1);
	if (!carried(is_ours(f.daddr), len))
		return;
	f = flow_of(last.after);
	must(f.saddr == asked.daddr && f.sport == asked.dport);
	must(f.daddr == asked.saddr && f.dport == asked.sport);
}

/*
 *	Events
 */

/*
 *	Rules that are there from the beginning, if the input wants it
 */
static const struct ip_portfw_edits usual[] = {
	{ IPPROTO_TCP, A(1, 1, 160, 194), A(2, 0, 0, 10), 80, 80 },
	{ IPPROTO_TCP, A(1, 1, 160, 194), A(2, 0, 0, 10), 21, 21 },
	{ IPPROTO_UDP, A(1, 1, 160, 194), A(2, 0, 0, 10), 53, 53 },
	{ IPPROTO_TCP, 0, A(2, 0, 0, 10), 8080, 80 },
	{ IPPROTO_UDP, 0, A(3, 0, 0, 10), 80, 1024 },
	{ IPPROTO_TCP, A(2, 1, 160, 194), A(3, 0, 0, 10), 2121, 21 },
};

static struct flow flow_in(int protocol)
{
	struct flow f = { protocol };
	const struct ip_portfw_edits *e;

	f.saddr = pick(clients);
	f.sport = port();
	if (byte() & 1) {
		e = usual + byte() % N(usual);
		f.daddr = e->laddr ? htonl(e->laddr) : ALIAS;
		f.dport = htons(e->lport);
	} else {
		f.daddr = pick(locals);
		f.dport = port();
	}
	return f;
}

static struct flow flow_out(int protocol)
{
	struct flow f = { protocol };

	f.saddr = pick(hosts);
	f.sport = port();
	f.daddr = pick(clients);
	f.dport = port();
	if (f.daddr == f.saddr)
		f.daddr = clients[0];
	return f;
}

/*
 *	The gateway itself sends an error about a packet that it has carried
 *	on: the sender must know what is quoted for his own.
 */
static void own_error(int at_once)
{
	static const unsigned char types[] = {
		ICMP_DEST_UNREACH, ICMP_TIME_EXCEEDED, ICMP_REDIRECT,
	};
	unsigned type = pick(types), code = byte() % 5;
	int protocol = ((struct iphdr *) last.before)->protocol;
	int ports_known = protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
	struct flow asked, quoted;
	unsigned char frame[16 + 2048] = "", *p;
	unsigned before = byte() & 1 ? 16 : 0;
	struct sk_buff *skb;
	int unsent;

	if (!last.len || !ip_portfw_active)
		return;
	/* the header of its own frame may still be there, and is padded */
	memcpy(frame + before, last.after, last.len);
	skb = packet(frame, before + last.len, before + last.len, 0);
	p = skb->data + before;
	skb->ip_hdr = (struct iphdr *) p;
	skb->dev = devices + 4;
	asked = flow_of(last.before);
	if (type == ICMP_DEST_UNREACH && code == ICMP_FRAG_NEEDED &&
	    at_once && ports_known) {
		/* so far ip_forward() itself undoes a translation */
		if (last.in)
			skb->ip_hdr->daddr = skb->dev->pa_addr;
		else {
			skb->ip_hdr->saddr = asked.saddr;
			memcpy(transport(p), &asked.sport, 2);
		}
	}
	enter_bh();
	unsent = ip_portfw_do_icmp_send(skb, type, code);
	leave_bh();
	must(!unsent || type == ICMP_REDIRECT);
	must(skb->len <= before + last.len);
	/* what the gateway has taken for itself is known by its new looks */
	if (at_once && !last.kept && type != ICMP_REDIRECT && ports_known) {
		must(right_ip(p, last.len));
		must(right(p, last.len) == right(last.after, last.len));
		quoted = flow_of(p);
		must(quoted.saddr == asked.saddr);
		must(quoted.sport == asked.sport);
		must(quoted.daddr == asked.daddr);
		must(quoted.dport == asked.dport);
	}
	kfree_skb(skb, FREE_WRITE);
	check();
}

/*
 *	Bits of how: 1 spoilt, 2 spoilt again, 4 answered at once, 128 an error
 *	of our own first.
 */
static void send_composed(int in, unsigned len, unsigned how)
{
	if (how & 1)
		len = spoil(len);
	if (how & 2)
		len = spoil(len);
	if (carry(in, len) != 1)
		return;
	if (how & 128)
		own_error(1);
	if (how & 4)
		answer();
}

static void send_tcp(int in)
{
	struct flow f = in ? flow_in(IPPROTO_TCP) : flow_out(IPPROTO_TCP);
	unsigned how = byte(), flags = pick(tcp_kinds);
	__u32 seq = pick(numbers), ack = pick(numbers);
	char data[256];
	unsigned data_len = 0;

	if (how & 8)
		data_len = line(data, sizeof(data), &f);
	send_composed(in, compose(&f, flags, seq, ack, data, data_len), how);
}

static void send_udp(int in)
{
	struct flow f = in ? flow_in(IPPROTO_UDP) : flow_out(IPPROTO_UDP);
	unsigned how = byte();

	send_composed(in, compose(&f, 0, 0, 0, "question", how >> 3 & 7),
		      how);
}

/*
 *	A connection is opened properly; perhaps one line is said then.
 */
static void send_handshake(void)
{
	struct flow f = flow_in(IPPROTO_TCP), back;
	unsigned how = byte();
	char data[256];

	if (carry(1, compose(&f, SYN, 1000, 0, "", 0)) != 1)
		return;
	back = flow_of(last.after);
	back = (struct flow) { IPPROTO_TCP, back.daddr, back.saddr,
			       back.dport, back.sport };
	if (!carried(is_ours(back.daddr),
		     compose(&back, SYN | ACK, 2000, 1001, "", 0)) ||
	    !carried(1, compose(&f, ACK, 1001, 2001, "", 0)))
		return;
	if (how & 1)
		carry(1, compose(&f, ACK, 1001, 2001, data,
				 line(data, sizeof(data), &f)));
	if (how & 2)
		carry(is_ours(back.daddr),
		      compose(&back, ACK, 2001, 1001, data,
			      line(data, sizeof(data), &back)));
	if (how & 4)
		answer();
}

/*
 *	An ICMP message about a packet that was carried on before. Whoever has
 *	seen it after may say so to its sender, as he knows him.
 */
static void send_icmp(void)
{
	static const unsigned char types[] = {
		ICMP_DEST_UNREACH, ICMP_TIME_EXCEEDED, ICMP_SOURCE_QUENCH,
		ICMP_PARAMETERPROB, ICMP_REDIRECT, ICMP_ECHO, ICMP_ECHOREPLY,
	};
	unsigned quote, how = byte();
	unsigned char quoted[2048];
	struct icmphdr *icmp;

	if (!last.len)
		return;
	quote = how & 8 ? byte() : 28;
	if (quote > last.len)
		quote = last.len;
	memcpy(quoted, last.after, quote);
	if (how & 16)
		quoted[byte() % 40] = byte();
	memset(&raw, 0, sizeof(raw));
	raw.ip.version = 4;
	raw.ip.ihl = 5;
	raw.ip.ttl = 64;
	raw.ip.protocol = IPPROTO_ICMP;
	raw.ip.daddr = how & 64 ? pick(clients) :
		((struct iphdr *) last.after)->saddr;
	raw.ip.saddr = how & 32 ? ((struct iphdr *) last.after)->daddr :
		pick(clients);
	icmp = (struct icmphdr *) transport(&raw.ip);
	icmp->type = pick(types);
	icmp->code = byte() % 16;
	memcpy(icmp + 1, quoted, quote);
	finish(28 + quote);
	send_composed(is_ours(raw.ip.daddr), 28 + quote, how & 3);
}

/*
 *	Rules, and what we know of them: each form that one had is remembered
 *	with the time when it began and ended. One that changes its destination
 *	keeps its number.
 */

#define FORMS 512

static struct form {
	struct ip_portfw_edits e;
	unsigned number, born, died;	/* died 0: not yet */
	int listed;
} forms[FORMS];
static unsigned nforms, numbers_given, clock_now;

static struct form *form_of(const struct ip_portfw_edits *e)
{
	struct form *f;

	for (f = forms; f < forms + nforms; f++)
		if (!f->died && f->e.protocol == e->protocol &&
		    f->e.laddr == e->laddr && f->e.lport == e->lport)
			return f;
	return NULL;
}

static int sane(const struct ip_portfw_edits *e)
{
	__u32 l = htonl(e->laddr), r = htonl(e->raddr);

	return (e->protocol == IPPROTO_TCP || e->protocol == IPPROTO_UDP) &&
		e->lport != 0 && e->rport != 0 &&
		(e->lport < IP_PORTFW_MASQ_FIRST ||
		 e->lport > IP_PORTFW_MASQ_LAST) &&
		(l == OUTSIDE || l == ALIAS || l == 0) &&
		(r == A(10, 0, 0, 2) || r == A(10, 0, 0, 3));
}

static int edit(int option, const struct ip_portfw_edits *e, int len)
{
	void *user = malloc(len > 0 ? len : 1);
	struct form *f;
	unsigned failures = world.failures;
	int err, root = world.root;

	memcpy(user, e, len > (int) sizeof(*e) ? (int) sizeof(*e) :
	       len > 0 ? len : 0);
	err = ip_portfw_ctl(option, user, len);
	free(user);
	clock_now++;
	must(err == 0 || err == -EPERM || err == -EINVAL || err == -EFAULT ||
	     err == -ENOENT || err == -ENOMEM);
	must(err != -ENOMEM || world.failures != failures);
	must(err != 0 || (root && len == sizeof(*e)));
	if (err)
		return err;
	f = form_of(e);
	switch (option) {
	case IP_PORTFW_FLUSH:
		for (f = forms; f < forms + nforms; f++)
			if (!f->died)
				f->died = clock_now;
		break;
	case IP_PORTFW_DEL:
		must(f != NULL);
		f->died = clock_now;
		break;
	case IP_PORTFW_ADD:
		must(nforms < FORMS);
		forms[nforms].e = *e;
		forms[nforms].born = clock_now;
		forms[nforms].died = 0;
		forms[nforms].number = f ? f->number : numbers_given++;
		if (f)
			f->died = clock_now;
		nforms++;
		break;
	}
	return 0;
}

static void edit_rule(void)
{
	struct ip_portfw_edits e = { 0 };
	unsigned how = byte(), i;
	int option = IP_PORTFW_ADD, len = sizeof(e), allowed, err;

	if (nforms > FORMS - 8)
		return;
	if ((how & 7) == 0)
		option = IP_PORTFW_DEL;
	if (how == 1)
		option = IP_PORTFW_FLUSH;
	if (how == 2)
		for (i = 0; i < sizeof(e); i++)
			((unsigned char *) &e)[i] = byte();
	else {
		e.protocol = how & 8 ? IPPROTO_UDP : IPPROTO_TCP;
		e.laddr = how & 16 ? ntohl(pick(locals)) : ntohl(OUTSIDE);
		if (how & 32)
			e.laddr = 0;
		e.raddr = how & 64 ? ntohl(pick(hosts)) :
			ntohl(A(10, 0, 0, 2));
		e.lport = ntohs(port());
		e.rport = how & 128 ? ntohs(port()) : e.lport;
	}
	if (how == 3)
		len = byte() - 4;
	allowed = world.root && !world.bad_pointer && len == sizeof(e);
	err = edit(option, &e, len);
	if (allowed && option == IP_PORTFW_ADD && sane(&e))
		must(err == 0 || err == -ENOMEM);
}

/*
 *	The list of rules, read bit by bit while other things happen.
 */

#define READERS 2

static struct reader {
	struct file file;
	char text[65536];
	unsigned len, began;
	int open, busy, mixed;		/* mixed: two have read it at once */
} readers[READERS];

/*
 *	Every line is one that was true for a while, every rule that was there
 *	all the while is in one line, and they are in order.
 */
static void judge(const struct reader *r)
{
	unsigned nlines = r->len / IP_PORTFW_LINE, i, found;
	const char *text = r->text;
	char want[128];
	struct form *f;
	int n, newest = -1;
	unsigned char *l, *d;

	must(r->len % IP_PORTFW_LINE == 0 && nlines > 0);
	n = sprintf(want, "%-*s\n", IP_PORTFW_LINE - 1, IP_PORTFW_HEADING);
	must(!memcmp(text, want, n));
	for (i = 0; i < nforms; i++)
		forms[i].listed = 0;
	for (text += n; text < r->text + r->len; text += IP_PORTFW_LINE) {
		found = 0;
		for (f = forms; f < forms + nforms && !found; f++) {
			__u32 laddr = htonl(f->e.laddr),
			      raddr = htonl(f->e.raddr);

			if (f->died && f->died <= r->began)
				continue;
			l = (unsigned char *) &laddr;
			d = (unsigned char *) &raddr;
			n = sprintf(want,
				    "%s %d.%d.%d.%d/%d > %d.%d.%d.%d/%d",
				    f->e.protocol == IPPROTO_TCP ? "TCP" :
				    "UDP", l[0], l[1], l[2], l[3], f->e.lport,
				    d[0], d[1], d[2], d[3], f->e.rport);
			sprintf(want + n, "%-*s\n", IP_PORTFW_LINE - 1 - n,
				"");
			if (memcmp(text, want, IP_PORTFW_LINE) ||
			    (int) f->number <= newest)
				continue;
			found = 1;
			newest = f->number;
			for (i = 0; i < nforms; i++)
				if (forms[i].number == f->number)
					forms[i].listed = 1;
		}
		must(found);
	}
	for (f = forms; f < forms + nforms; f++)
		if (f->born <= r->began && (!f->died || f->died > r->began))
			/* and is it still there, in whatever form? */
			for (i = 0; i < nforms; i++)
				must(forms[i].number != f->number ||
				     forms[i].died || forms[i].listed);
}

static void read_some(struct reader *r, unsigned count)
{
	char *user = malloc(count ? count : 1);
	int got;

	if (r->busy && !r->open)
		goto out;
	else if (r->busy)
		r->mixed = 1;
	else if (!r->open) {
		r->busy++;
		got = proc_open("ip_portfw", &r->file);
		r->busy--;
		if (got < 0)
			goto out;
		r->len = 0;
		r->began = clock_now;
		r->mixed = 0;
		r->open = 1;
	}
	r->busy++;
	if (r->len + count > sizeof(r->text))
		count = sizeof(r->text) - r->len;
	got = proc_read("ip_portfw", &r->file, user, count);
	r->busy--;
	must(got <= (int) count);
	if (got < 0)
		must(got == -ENOMEM || got == -EFAULT);
	else if (r->len + got <= sizeof(r->text)) {
		memcpy(r->text + r->len, user, got);
		r->len += got;
		if (got == 0 && count && !r->busy) {
			if (!r->mixed)
				judge(r);
			proc_close("ip_portfw", &r->file);
			r->open = 0;
		}
	}
out:
	free(user);
}

static void read_rules(void)
{
	unsigned how = byte();
	struct reader *r = readers + how % READERS;

	if (how & 8 && r->open) {		/* as lseek() does it */
		r->file.f_pos = byte();
		r->mixed = 1;
	}
	do
		read_some(r, how & 2 ? byte() : 1 + word() % 5000);
	while (how & 4 && r->open && input_left);
}

/*
 *	The connections as masquerading's file shows them.
 */
static void read_connections(void)
{
	unsigned length = 128 * (1 + byte() % 24), lines_seen = 0;
	off_t offset = 0, pos, begin;
	char *page;
	int len;

	do {
		page = malloc(4096);
		len = 0;
		pos = 0;
		if (offset < 128)
			len = sprintf(page, "%-127s\n", "heading");
		pos = 128;
		ip_portfw_procinfo(page, &len, &pos, offset, length);
		must(len <= 4096);
		begin = len - (pos - offset);
		must(begin >= 0 || len == 0);
		len -= begin;
		if (len > (int) length)
			len = length;
		must(len <= 0 || len % 128 == 0);
		if (len > 0)
			lines_seen += len / 128;
		offset += len;
		free(page);
	} while (len > 0 && lines_seen < 100000);
}

static unsigned limits_written;

static void write_limits(void)
{
	static const char *const names[] = {
		"connections", "half_open", "half_open_timeout", "connection",
		"", "half_open_", "connections half_open",
	};
	static const char *const values[] = {
		"16", "20", "4", "1", "2", "60", "16384", "0", "-1", "",
		"99999999999", "4294967312", "1048577", "3600", "3601", "0x10",
		"1 2", "7x", " 3", "\t5",
	};
	struct file file;
	char text[64] = "";
	unsigned how = byte(), len;
	char *user;
	int ret;

	len = sprintf(text, "%s %s\n", pick(names), pick(values));
	if (how & 1)
		len = byte() % (len + 1);
	if (how & 2)
		text[byte() % sizeof(text)] = byte();
	user = malloc(len ? len : 1);
	memcpy(user, text, len);
	proc_open("ip_portfw_limits", &file);
	ret = proc_write("ip_portfw_limits", &file, user, len);
	proc_close("ip_portfw_limits", &file);
	must(ret == (int) len || (ret < 0 && ret >= -EINVAL));
	limits_written++;
	free(user);
	was.conns = was.half_open = ~0;
	check();
}

static void read_limits(void)
{
	struct file file;
	char text[1024], *user;
	unsigned len = 0, size = 1 + byte(), written = limits_written, a, b, c;
	int got;

	proc_open("ip_portfw_limits", &file);
	do {
		user = malloc(size);
		got = proc_read("ip_portfw_limits", &file, user, size);
		must(got <= (int) size && (got >= 0 || got == -ENOMEM ||
					   got == -EFAULT));
		if (got > 0) {
			must(len + got < sizeof(text));
			memcpy(text + len, user, got);
			len += got;
		}
		free(user);
	} while (got > 0);
	proc_close("ip_portfw_limits", &file);
	text[len] = 0;
	if (got == 0 && written == limits_written) {
		must(sscanf(text, "connections %u\nhalf_open %u\n"
			    "half_open_timeout %u\n", &a, &b, &c) == 3);
		must(a >= 16 && a <= 1048576 && b >= 1 && b <= 65536 &&
		     c >= 1 && c <= 3600);
	}
}

/*
 *	What happens around us
 */
static void change_world(void)
{
	struct ip_masq *ms = world.stock + byte() % STOCK;
	struct sock *sk;
	struct flow f;

	switch (byte() % 7) {
	case 0:
		world.helpers = !world.helpers;
		world.helped = 1;
		break;
	case 1:
		world.unreachable = !world.unreachable;
		break;
	case 2:
		devices[4].pa_addr = devices[4].pa_addr == OUTSIDE ?
			A(194, 160, 1, 77) : OUTSIDE;
		break;
	case 3:
		devices[3].flags ^= IFF_UP;
		devices[3].pa_addr = byte() & 1 ? A(192, 0, 2, 5) : 0;
		break;
	case 4:					/* masquerading takes it */
		f = flow_out(byte() & 1 ? IPPROTO_UDP : IPPROTO_TCP);
		ms->protocol = f.protocol;
		ms->saddr = f.saddr;
		ms->sport = f.sport;
		ms->daddr = f.daddr;
		ms->dport = f.dport;
		ms->maddr = OUTSIDE;
		ms->mport = htons(61000);
		break;
	case 5:
		memset(ms, 0, sizeof(*ms));
		break;
	case 6:					/* the gateway's own	*/
		f = flow_in(byte() & 1 ? IPPROTO_UDP : IPPROTO_TCP);
		sk = f.protocol == IPPROTO_UDP ? &world.udp_socket :
			&world.tcp_socket;
		sk->rcv_saddr = f.daddr;
		sk->dummy_th.source = f.dport;
		sk->state = byte() % (TCP_CLOSING + 1);
		sk->daddr = sk->state == TCP_LISTEN ? 0 : f.saddr;
		sk->dummy_th.dest = f.sport;
		break;
	}
}

static void settle_timeouts(unsigned n)
{
	ip_masq_expire->tcp_timeout = n & 1 ? HZ : 15 * 60 * HZ;
	ip_masq_expire->tcp_fin_timeout = n & 2 ? HZ : 2 * 60 * HZ;
	ip_masq_expire->udp_timeout = n & 4 ? HZ : 5 * 60 * HZ;
}

static unsigned interleave;	/* how many events happen where others may run */
static int depth;

static void bottom_half(void)
{
	switch (byte() % 8) {
	case 0:
	case 1:
		send_tcp(1);
		break;
	case 2:
		send_tcp(0);
		break;
	case 3:
		send_udp(1);
		break;
	case 4:
		send_udp(0);
		break;
	case 5:
		send_handshake();
		break;
	case 6:
		send_icmp();
		break;
	case 7:
		own_error(0);
		break;
	}
}

static void process(void)
{
	switch (byte() % 8) {
	case 0:
	case 1:
	case 2:
		edit_rule();
		break;
	case 3:
		read_rules();
		break;
	case 4:
		read_connections();
		break;
	case 5:
		write_limits();
		break;
	case 6:
		read_limits();
		break;
	case 7:
		world.root = byte() % 8 != 0;
		world.bad_pointer = byte() % 8 == 1;
		break;
	}
}

static void event(void)
{
	static const unsigned long whiles[] = {
		1, 10 * HZ, 60 * HZ, 120 * HZ, 15 * 60 * HZ, HZ,
	};
	unsigned what = byte();

	if (what < 160)
		bottom_half();
	else if (what < 210)
		process();
	else if (what < 225)
		pass(pick(whiles));
	else if (what < 235)
		change_world();
	else if (what < 243)
		world.fail = byte() % 6;
	else if (what < 247)
		settle_timeouts(byte());
	else
		interleave = byte() % 4;
}

static void meanwhile(void (*what)(void))
{
	unsigned n = interleave;

	if (depth == 2)
		return;
	depth++;
	interleave = 0;
	while (n-- && input_left)
		what();
	depth--;
}

void bottom_halves(void)
{
	meanwhile(bottom_half);
}

void others(void)
{
	meanwhile(event);
}

/*
 *	One run
 */

static void set_limit(const char *line)
{
	must(proc_write("ip_portfw_limits", NULL, line, strlen(line)) ==
	     (int) strlen(line));
}

static void begin(void)
{
	unsigned how = byte(), i;

	memset(&world, 0, sizeof(world));
	memset(&last, 0, sizeof(last));
	memset(&was, 0, sizeof(was));
	memset(readers, 0, sizeof(readers));
	world.root = 1;
	world.random = 1;
	settle_timeouts(0);
	devices[3].flags = IFF_POINTOPOINT;
	devices[3].pa_addr = 0;
	devices[4].pa_addr = OUTSIDE;
	interleave = nforms = numbers_given = clock_now = 0;
	/* the clock may turn over soon */
	jiffies = how & 1 ? -200ul * HZ : 1000;
	world.helpers = world.helped = how >> 1 & 1;
	if (how & 4)
		for (i = 0; i < N(usual); i++)
			must(edit(IP_PORTFW_ADD, usual + i,
				  sizeof(*usual)) == 0);
	if (how & 8) {
		set_limit("connections 16\n");
		set_limit("half_open 4\n");
	}
}

/*
 *	When all rules are gone and time has passed, nothing is left.
 */
static void end(void)
{
	struct ip_portfw_edits none = { 0 };
	unsigned i;

	input_left = interleave = 0;
	world.root = 1;
	world.fail = world.bad_pointer = 0;
	for (i = 0; i < READERS; i++)
		while (readers[i].open)
			read_some(readers + i, 1000);
	edit(IP_PORTFW_FLUSH, &none, sizeof(none));
	set_limit("connections 16384\n");
	set_limit("half_open 1024\n");
	set_limit("half_open_timeout 60\n");
	pass(24ul * 60 * 60 * HZ);
	check();
	must(ip_portfw_active == NULL);
	must(was.conns == 0 && was.half_open == 0);
	must(world.timers == 0 && world.blocks == 0 && world.bytes == 0);
	must(world.pages == 0 && world.packets == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	dev_base = devices;
	high_memory = 2048 << PAGE_SHIFT;
	ip_portfw_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input = data;
	input_left = size;
	begin();
	while (input_left)
		event();
	end();
	return 0;
}
