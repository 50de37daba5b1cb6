/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	IP port forwarding: FTP servers inside
 *
 *	On the control connection client and server tell each other where data
 *	connections lead. The masquerading helper knows how clients inside
 *	speak; this is for servers inside: what the server says of its address
 *	is changed to what the client can reach, and the connection that
 *	follows is let begin.
 *
 *	A command or an answer has to stand at the beginning of a segment and
 *	be whole in it, which is how all send them. What isn't understood, or
 *	names a third party, is left as it is. An answer has to begin a line as
 *	well: a client can have the server repeat any text, and can choose where
 *	that is cut.
 *
 *	Everything here runs in bottom halves.
 */

#include <linux/config.h>
#include <linux/types.h>
#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/mm.h>
#include <linux/malloc.h>
#include <linux/string.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/ip_portfw.h>
#include <net/ip.h>
#include <net/ip_masq.h>

/*
 *	No data goes to a port where something else may be served.
 */
#define DATA_PORT_MIN	1024

/*
 *	A decimal number no greater than max at p. Returns what follows it, or
 *	NULL if there is none, or nothing follows.
 */
static char *number(char *p, char *end, unsigned max, unsigned *n)
{
	char *begin = p;

	for (*n = 0; p < end && *p >= '0' && *p <= '9'; p++) {
		*n = *n * 10 + *p - '0';
		if (*n > max)
			return NULL;
	}
	return p > begin && p < end ? p : NULL;
}

/*
 *	count bytes as numbers with sep between them, first byte first.
 */
static char *bytes(char *p, char *end, char sep, int count, __u8 *b)
{
	unsigned n;

	for (;;) {
		p = number(p, end, 255, &n);
		if (p == NULL)
			return NULL;
		*b++ = n;
		if (--count == 0)
			return p;
		if (*p++ != sep)
			return NULL;
	}
}

/*
 *	The text of a TCP segment, and where it ends. The header was sound.
 */
static char *text(const struct sk_buff *skb, char **end)
{
	struct iphdr *iph = skb->h.iph;
	struct tcphdr *th = (struct tcphdr *) ((char *) iph + iph->ihl * 4);

	*end = (char *) iph + skb->len;
	return (char *) th + th->doff * 4;
}

static int command(const char *p, const char *word)
{
	while (*word)
		if ((*p++ | 0x20) != *word++)
			return 0;
	return 1;
}

/*
 *	From the client: PORT h1,h2,h3,h4,p1,p2 or EPRT |1|h1.h2.h3.h4|port|
 */
static int ftp_in(struct ip_masq_app *app, struct ip_masq *ms,
		  struct sk_buff **skb_p, struct device *dev)
{
	char *end, *p = text(*skb_p, &end), bar;
	__u8 host[6];
	unsigned port = 0;

	if (end - p < sizeof("PORT 0,0,0,0,0,0"))
		return 0;
	if (command(p, "port ")) {
		p = bytes(p + 5, end, ',', 6, host);
		port = host[4] << 8 | host[5];
	} else if (command(p, "eprt ")) {
		bar = p[5];
		if (p[6] != '1' || p[7] != bar)
			return 0;
		p = bytes(p + 8, end, '.', 4, host);
		if (p && *p == bar)
			p = number(p + 1, end, 65535, &port);
	} else
		return 0;
	if (p && port >= DATA_PORT_MIN && memcmp(host, &ms->daddr, 4) == 0)
		ip_portfw_expect_out(ms, htons(port));
	return 0;
}

/*
 *	Puts len bytes in the place of those from begin up to after. Returns by
 *	how much the segment has grown; if there is no memory for that, or it
 *	would be too long for dev, it stays as it was.
 */
static int replace(struct sk_buff **skb_p, struct device *dev, char *begin,
		   char *after, char *to, int len)
{
	struct sk_buff *skb = *skb_p;
	struct iphdr *iph = skb->h.iph;
	int more = len - (after - begin);

	/* ip_forward() would tell the sender with the old packet in hand */
	if (skb->len + more > dev->mtu && iph->frag_off & htons(IP_DF))
		return 0;
	if (more <= skb_tailroom(skb)) {
		memmove(begin + len, after, skb->tail - (__u8 *) after);
		memcpy(begin, to, len);
		if (more > 0)
			skb_put(skb, more);
		else
			skb_trim(skb, skb->len + more);
		iph->tot_len = htons(skb->len);
		return more;
	}
	*skb_p = ip_masq_skb_replace(skb, GFP_ATOMIC, begin, after - begin,
				     to, len);
	iph = (*skb_p)->h.iph;
	iph->tot_len = htons((*skb_p)->len);
	return *skb_p != skb ? more : 0;
}

/*
 *	From the server: 227 ... h1,h2,h3,h4,p1,p2 or 229 ... (|||port|).
 *	Returns by how much the segment has grown.
 */
static int answer(struct ip_masq *ms, struct sk_buff **skb_p,
		  struct device *dev, char *p, char *end)
{
	char to[sizeof("255,255,255,255")], *begin;
	__u8 host[6], *a = (__u8 *) &ms->maddr;
	unsigned port;
	int len;

	if (end - p < sizeof("227 0,0,0,0,0,0") ||
	    memcmp(p, "22", 2) || p[3] != ' ')
		return 0;
	if (p[2] == '9') {
		while (p < end && *p != '(')
			p++;
		if (end - p < sizeof("(|||1|)") - 1 ||
		    p[2] != p[1] || p[3] != p[1])
			return 0;
		if (number(p + 4, end, 65535, &port) && port >= DATA_PORT_MIN)
			ip_portfw_expect_in(ms, htons(port));
		return 0;
	}
	if (p[2] != '7')
		return 0;
	p += 4;
	while (p < end && (*p < '0' || *p > '9'))
		p++;
	begin = p;
	p = bytes(begin, end, ',', 6, host);
	port = host[4] << 8 | host[5];
	/* some are told their outer address */
	if (p == NULL || port < DATA_PORT_MIN || (memcmp(host, &ms->saddr, 4) &&
				       memcmp(host, &ms->maddr, 4)))
		return 0;
	if (!ip_portfw_expect_in(ms, htons(port)))
		return 0;

	/* the four numbers of the address give way to ours */
	p = bytes(begin, end, ',', 4, host);
	len = sprintf(to, "%d,%d,%d,%d", a[0], a[1], a[2], a[3]);
	return replace(skb_p, dev, begin, p, to, len);
}

/*
 *	ms->in_seq is ours, as nothing that comes in changes its length:
 *	init_seq is where the server's next line begins, as the client counts,
 *	and delta how long the segment before that was, should it come again. Of
 *	a connection that was there before us, previous_delta tells that the
 *	beginning is yet to be seen.
 */
static int ftp_out(struct ip_masq_app *app, struct ip_masq *ms,
		   struct sk_buff **skb_p, struct device *dev)
{
	struct iphdr *iph = (*skb_p)->h.iph;
	struct tcphdr *th = (struct tcphdr *) ((char *) iph + iph->ihl * 4);
	char *end, *p = text(*skb_p, &end);
	__u32 seq = ntohl(th->seq), ahead = seq - ms->in_seq.init_seq;
	int ends_line, begins_line, more = 0;

	if (th->syn) {
		/* whatever the entry has seen before, the server begins here */
		ms->in_seq.init_seq = seq + 1;
		ms->in_seq.delta = ms->in_seq.previous_delta = 0;
	}
	if (th->syn || p == end)
		return 0;
	ends_line = end[-1] == '\n';
	begins_line = !ms->in_seq.previous_delta &&
		(ahead == 0 || -ahead == (__u16) ms->in_seq.delta);
	if (begins_line)
		more = answer(ms, skb_p, dev, p, end);
	ahead += end - p + more;
	if (ends_line && (__s32) ahead > 0) {
		ms->in_seq.init_seq += ahead;
		ms->in_seq.delta = begins_line ? end - p + more : 0;
		ms->in_seq.previous_delta = 0;
	}
	return more;
}

struct ip_masq_app ip_portfw_ftp = {
	NULL,			/* next: in no list	*/
	"ftp server",
	0, 0, NULL, NULL,
	ftp_out,
	ftp_in
};
