/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	IP port forwarding
 *
 *	A forwarded connection is a masqueraded connection that began outside.
 *	Here are the rules that say which may begin, the index that finds the
 *	connections, the rewriting of their packets, and the ways in from user
 *	space: setsockopt and /proc.
 *
 *	Packets are handled and timers expire in bottom halves, which never
 *	interrupt each other. Whatever user space asks for runs in process
 *	context and keeps bottom halves off, for a short and bounded time,
 *	where it touches what they use. Interrupts are off only where the
 *	kernel's timers have them so.
 *
 *	Addresses and ports are in network byte order unless said otherwise.
 */

#include <linux/config.h>
#include <linux/version.h>
#include <linux/types.h>
#include <linux/kernel.h>
#include <linux/errno.h>
#include <linux/sched.h>
#include <linux/mm.h>
#include <linux/malloc.h>
#include <linux/string.h>
#include <linux/interrupt.h>
#include <linux/timer.h>
#include <linux/random.h>
#include <linux/stat.h>
#include <linux/fs.h>
#include <linux/proc_fs.h>
#include <linux/netdevice.h>
#include <linux/if_arp.h>
#include <linux/skbuff.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/icmp.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/ip_portfw.h>
#include <net/checksum.h>
#include <net/ip.h>
#include <net/icmp.h>
#include <net/route.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <net/udp.h>
#include <net/ip_masq.h>
#include <asm/segment.h>
#ifdef CONFIG_NET_ALIAS
#include <linux/net_alias.h>
#endif

/*
 *	What differs between the releases that this file is for.
 */
#if LINUX_VERSION_CODE >= 0x02001f	/* 2.0.31 */
#define route_to(addr)		ip_rt_route(addr, 0, NULL)
#else
#define route_to(addr)		ip_rt_route(addr, 0)
#endif
/* icmp_send() took the length to begin behind the IP header */
#if LINUX_VERSION_CODE >= 0x020028	/* 2.0.40 */
#define QUOTED_TOO_MUCH(iph)	0
#define port_unreachable(skb, dev)	icmp_send(skb, ICMP_DEST_UNREACH, \
						  ICMP_PORT_UNREACH, 0, dev, 1)
#else
#define QUOTED_TOO_MUCH(iph)	((iph)->ihl * 4)
#define port_unreachable(skb, dev)	icmp_send(skb, ICMP_DEST_UNREACH, \
						  ICMP_PORT_UNREACH, 0, dev)
#endif
#ifndef IP_MASQ_F_NO_REPLY	/* before 2.0.31 nobody knows */
#define IP_MASQ_F_NO_REPLY	0
#endif
/* get_sock() looks in these; its successors are in no header */
#if LINUX_VERSION_CODE >= 0x02001f
extern struct sock *tcp_v4_lookup(__u32 saddr, __u16 sport, __u32 daddr,
				  __u16 dport, struct device *dev);
extern struct sock *udp_v4_lookup(__u32 saddr, __u16 sport, __u32 daddr,
				  __u16 dport, struct device *dev);
#elif LINUX_VERSION_CODE >= 0x02001e	/* 2.0.30 */
extern struct sock *tcp_v4_lookup(__u32 saddr, __u16 sport, __u32 daddr,
				  __u16 dport);
extern struct sock *udp_v4_lookup(__u32 saddr, __u16 sport, __u32 daddr,
				  __u16 dport);
#define tcp_v4_lookup(saddr, sport, daddr, dport, dev) \
	tcp_v4_lookup(saddr, sport, daddr, dport)
#define udp_v4_lookup(saddr, sport, daddr, dport, dev) \
	udp_v4_lookup(saddr, sport, daddr, dport)
#else
#define tcp_v4_lookup(saddr, sport, daddr, dport, dev) \
	get_sock(&tcp_prot, dport, saddr, sport, daddr, 0, 0)
#define udp_v4_lookup(saddr, sport, daddr, dport, dev) \
	get_sock(&udp_prot, dport, saddr, sport, daddr, 0, 0)
#endif

/*
 *	What a hash table holds.
 */
struct entry {
	struct entry *next;
	unsigned hash;
};

/*
 *	A rule: packets for laddr:lport begin connections to raddr:rport.
 */
struct ip_portfw_rule {
	struct entry from, to;	/* in rules_from and rules_to		*/
	struct ip_portfw_rule *next, **pprev;	/* all, oldest first	*/
	unsigned long	serial;			/* grows along that list */
	__u32	laddr, raddr;			/* laddr 0: any of ours	*/
	__u16	lport, rport;
	__u16	protocol;
};

/*
 *	A connection: what masquerading would know of it, had saddr:sport
 *	inside dialled daddr:dport, the client, by way of maddr:mport. It is in
 *	our index alone and uses up no masquerading port.
 *
 *	Of ms, m_link and s_link are the entry of the index; in_seq is what the
 *	host inside sent while we were young, see conn_saw(); app, app_data and
 *	both sequences are for FTP.
 */
struct ip_portfw_conn {
	struct ip_masq	ms;
	struct ip_portfw_conn *twin;	/* see reflect(), or NULL	*/
	unsigned long	expires;	/* jiffies; the timer may be early */
	struct ip_portfw_conn *fifo_next, **fifo_pprev;	/* NULL: in none */
	unsigned short	flags;		/* none: open, and nothing special */
	unsigned short	children;	/* that have us as their control */
	__u16		change;		/* to check inward, see check_fold() */
};

#define entry_of(c)	((struct entry *) &(c)->ms.m_link)
/* of FTP data the control connection, of that what it waits for */
#define control_of(c)	((struct ip_portfw_conn *) (c)->ms.app_data)
#define expected_by(c)	((struct ip_portfw_conn *) (c)->ms.app_data)
#define answer_seq(c)	((c)->ms.in_seq.init_seq)
#define answer_amid(c)	((c)->ms.in_seq.previous_delta)

#define CONN_FIN_IN	0x001
#define CONN_FIN_OUT	0x002
#define CONN_FIN	(CONN_FIN_IN | CONN_FIN_OUT)
#define CONN_RST	0x004
#define CONN_YOUNG	0x008	/* not yet proven			*/
#define CONN_ANSWERED	0x010	/* young, but the other side has spoken	*/
#define CONN_OUTWARD	0x020	/* young, and began inside		*/
#define CONN_SELF	0x040	/* the client is the gateway		*/
#define CONN_TWIN	0x080	/* finds the answers to its twin	*/
#define CONN_HELPED	0x100	/* an FTP control connection		*/
#define CONN_EXPECTED	0x200	/* one port is 0 and yet to be seen	*/
#define CONN_GONE	0x400	/* out of the index, kept by its children */
#define CONN_REFLECTED	0x800	/* has a twin				*/

/*
 *	A connection is half open until the host inside has answered, and of
 *	TCP until the client has shown that it got the answer. They are few,
 *	the oldest gives way, and they are soon forgotten, counted from their
 *	first packet: nobody keeps one, or a rule that is gone, alive from
 *	outside alone.
 *
 *	A client of UDP can't prove anything, but its next datagram makes a
 *	connection anew. So those that were answered give way, too, when there
 *	are too many of all kinds; who has come back after the answer goes to
 *	the end of the queue once more.
 */
static struct fifo {
	struct ip_portfw_conn *first, **last;
	unsigned count;
} half_open = { NULL, &half_open.first, 0 },
  answered_udp = { NULL, &answered_udp.first, 0 };

/*
 *	The bounds, to be read and set in /proc/net/ip_portfw_limits. Of all
 *	connections the memory decides: a quarter of it, at 128 bytes each.
 */
static struct limit {
	const char *name;
	unsigned value, min, max;
} limits[] = {
	{ "connections",       0,    16,  1 << 20 },
	{ "half_open",         1024, 1,   1 << 16 },
	{ "half_open_timeout", 60,   1,   3600 },
};

#define LIMITS		(sizeof(limits) / sizeof(limits[0]))
#define CONNS_MAX	(limits[0].value)
#define HALF_OPEN_MAX	(limits[1].value)
#define HALF_OPEN_EXPIRE	(limits[2].value * HZ)
#define CONNS_A_PAGE	8
#define CONNS_DEFAULT	(1 << 16)
#define GIVE_WAY	4		/* to one; more only while bounds sink */

/*
 *	After a reset nothing more should come. What does all the same, sent
 *	before the other side knew, must not look like a new connection.
 */
#define RST_EXPIRE		(10 * HZ)

/*
 *	A SYN is less than so many bytes behind, if one of the present
 *	connection has come late.
 */
#define SYN_LATE	0x100000

/*
 *	How long an FTP data connection may take to come, and how many there
 *	may be of one control connection.
 */
#define EXPECT_EXPIRE		(60 * HZ)
#define CHILDREN_MAX		65000

/*
 *	Source ports of connections that have to look like the gateway's own.
 *	Neither its sockets nor masquerading take them unasked.
 */
#define REFLECT_FIRST	32768
#define REFLECT_PORTS	(61000 - REFLECT_FIRST)
#define REFLECT_TRIES	64

/*
 *	A hash table that grows and shrinks by one chain at a time, so that no
 *	packet has to wait for more: linear hashing. There are about as many
 *	chains as entries, but never less than a page of them, and never more
 *	than the hash can tell apart.
 */
#define CHAINS_A_PAGE	(PAGE_SIZE / sizeof(struct entry *))
#define TABLE_PAGES	64

struct table {
	struct entry **page[TABLE_PAGES];
	unsigned chains, entries;
	unsigned mask;			/* chains <= mask + 1		*/
};

/*
 *	The connections by client; the rules by local address and port, and by
 *	destination. All three come with the first rule, and go together.
 */
static struct table index, rules_from, rules_to;

/*
 *	How many rules and connections there are for a port, at either side of
 *	the gateway, lest packets for others be looked at any further. What has
 *	reached 255 stays there. NULL as long as there is neither a rule nor a
 *	connection. While the port that an FTP server will dial from isn't
 *	known, all that goes out is looked at: as if from port 0.
 */
unsigned char *ip_portfw_active = NULL;
unsigned short ip_portfw_out_mask = IP_PORTFW_PORTS - 1;

static void port_used(__u16 port)
{
	unsigned char *n = &ip_portfw_active[ntohs(port) % IP_PORTFW_PORTS];

	if (*n < 255)
		++*n;
}

static void port_unused(__u16 port)
{
	unsigned char *n = &ip_portfw_active[ntohs(port) % IP_PORTFW_PORTS];

	if (*n < 255)
		--*n;
}

static struct ip_portfw_rule *rules = NULL, **rules_end = &rules;
static unsigned long rules_serial = 0;
static int rules_any = 0;		/* rules for any local address	*/

static unsigned conns = 0;
static unsigned reflected = 0;		/* CONN_TWIN and CONN_SELF	*/
static unsigned expected = 0;		/* CONN_EXPECTED		*/
static unsigned expected_out = 0;	/* of which begin inside	*/

/*
 *	Whose packet was the last inward, see ip_portfw_do_icmp_send().
 */
static struct ip_portfw_conn *last_in = NULL;

/*
 *	Multilinear hashing of 16-bit words: strongly universal in the upper
 *	17 bits, which are all that is left, so that nobody who doesn't know
 *	the secret can choose addresses and ports that meet in one chain.
 */
static unsigned hash_secret[5];

static __inline__ unsigned hash(int protocol, __u32 addr, __u16 port)
{
	return (hash_secret[0] + hash_secret[1] * (addr & 0xffff) +
		hash_secret[2] * (addr >> 16) + hash_secret[3] * port +
		hash_secret[4] * protocol) >> 15;
}

/*
 *	Tables
 */

static __inline__ struct entry **table_chain(const struct table *t,
					     unsigned hash)
{
	unsigned i = hash & t->mask;

	if (i >= t->chains)
		i &= t->mask >> 1;
	return &t->page[i / CHAINS_A_PAGE][i % CHAINS_A_PAGE];
}

/*
 *	The chain where something with this address and port is, if it is.
 */
static struct entry *table_first(const struct table *t, int protocol,
				 __u32 addr, __u16 port)
{
	return *table_chain(t, hash(protocol, addr, port));
}

/*
 *	One more chain takes its entries from the one that had them so far. If
 *	there is no memory, chains become longer.
 */
static void table_grow(struct table *t)
{
	unsigned new = t->chains, page = new / CHAINS_A_PAGE;
	struct entry **from, **to, *e;

	if (new % CHAINS_A_PAGE == 0) {
		if (page == TABLE_PAGES)
			return;
		t->page[page] = (struct entry **) get_free_page(GFP_ATOMIC);
		if (t->page[page] == NULL)
			return;
	}
	if (new > t->mask)
		t->mask = t->mask << 1 | 1;
	from = table_chain(t, new);
	t->chains++;
	to = table_chain(t, new);
	while ((e = *from) != NULL) {
		if ((e->hash & t->mask) == new) {
			*from = e->next;
			e->next = *to;
			*to = e;
		} else
			from = &e->next;
	}
}

static void table_shrink(struct table *t)
{
	struct entry **from, **to;

	from = table_chain(t, t->chains - 1);
	t->chains--;
	to = table_chain(t, t->chains);
	while (*to)
		to = &(*to)->next;
	*to = *from;
	*from = NULL;
	if (t->chains == (t->mask >> 1) + 1)
		t->mask >>= 1;
	if (t->chains % CHAINS_A_PAGE == 0) {
		free_page((unsigned long) t->page[t->chains / CHAINS_A_PAGE]);
		t->page[t->chains / CHAINS_A_PAGE] = NULL;
	}
}

static void table_put(struct table *t, struct entry *e, int protocol,
		      __u32 addr, __u16 port)
{
	struct entry **chain;

	e->hash = hash(protocol, addr, port);
	chain = table_chain(t, e->hash);
	e->next = *chain;
	*chain = e;
	if (++t->entries > t->chains)
		table_grow(t);
}

/*
 *	Twice the chains that are needed are kept, lest the next entry want
 *	them again; no more, so that an empty table is down to one page.
 */
static void table_take(struct table *t, struct entry *e)
{
	struct entry **p = table_chain(t, e->hash);
	int i;

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	t->entries--;
	for (i = 0; i < 2; i++)
		if (t->entries < t->chains / 2 && t->chains > CHAINS_A_PAGE)
			table_shrink(t);
}

static void table_start(struct table *t, unsigned long page)
{
	t->page[0] = (struct entry **) page;
	t->chains = CHAINS_A_PAGE;
	t->mask = CHAINS_A_PAGE - 1;
}

static void table_end(struct table *t)
{
	free_page((unsigned long) t->page[0]);
	t->page[0] = NULL;
}

/*
 *	Makes the tables if they are not there. Process context, may sleep.
 *	Returns 0 or -ENOMEM.
 */
static int tables_get(void)
{
	unsigned long page[4];
	int i;

	for (i = 0; i < 4; i++)
		page[i] = get_free_page(GFP_KERNEL);
	/* somebody else may have made them while we slept */
	if (page[0] && page[1] && page[2] && page[3] && !ip_portfw_active) {
		get_random_bytes(hash_secret, sizeof(hash_secret));
		table_start(&index, page[0]);
		table_start(&rules_from, page[1]);
		table_start(&rules_to, page[2]);
		ip_portfw_active = (unsigned char *) page[3];
		return 0;
	}
	for (i = 0; i < 4; i++)
		if (page[i])
			free_page(page[i]);
	return ip_portfw_active ? 0 : -ENOMEM;
}

/*
 *	Gives the tables back when nothing is left in them.
 */
static void tables_put(void)
{
	unsigned char *ports = ip_portfw_active;

	if (rules || conns || !ports)
		return;
	ip_portfw_active = NULL;
	free_page((unsigned long) ports);
	table_end(&index);
	table_end(&rules_from);
	table_end(&rules_to);
}

/*
 *	Rules
 */

/*
 *	The rule for exactly this local address, or NULL.
 */
static struct ip_portfw_rule *rule_get(int protocol, __u32 laddr, __u16 lport)
{
	struct entry *e = table_first(&rules_from, protocol, laddr, lport);
	struct ip_portfw_rule *r;

	for (; e; e = e->next) {
		r = (struct ip_portfw_rule *) e;
		if (r->laddr == laddr && r->lport == lport &&
		    r->protocol == protocol)
			return r;
	}
	return NULL;
}

/*
 *	Is this the address of one of our interfaces? (ip_chk_addr() says so
 *	of every address while there is an interface without one.)
 */
static int addr_is_ours(__u32 addr)
{
	struct device *dev;

	for (dev = dev_base; dev; dev = dev->next)
		if (dev->pa_addr == addr && dev->flags & IFF_UP &&
		    dev->family == AF_INET)
			return 1;
	return 0;
}

/*
 *	The rule that a packet for daddr:dport meets, or NULL. Broadcasts and
 *	the loopback network are no addresses that "any" speaks of.
 */
static struct ip_portfw_rule *rule_match(int protocol, __u32 daddr, __u16 dport)
{
	struct ip_portfw_rule *r;

	if (!rules || daddr == 0)
		return NULL;
	r = rule_get(protocol, daddr, dport);
	if (r == NULL && rules_any) {
		r = rule_get(protocol, 0, dport);
		if (r && (LOOPBACK(daddr) || !addr_is_ours(daddr)))
			r = NULL;
	}
	return r;
}

/*
 *	A rule that leads to this host and port, the oldest if there are more,
 *	or NULL; *several if there are more than one.
 */
static struct ip_portfw_rule *rule_to(int protocol, __u32 raddr, __u16 rport,
				      int *several)
{
	struct ip_portfw_rule *r, *found = NULL;
	struct entry *e;

	*several = 0;
	if (!rules)
		return NULL;
	for (e = table_first(&rules_to, protocol, raddr, rport); e;
	     e = e->next) {
		/* from comes right before to */
		r = (struct ip_portfw_rule *) (e - 1);
		if (r->raddr != raddr || r->rport != rport ||
		    r->protocol != protocol)
			continue;
		if (found)
			*several = 1;
		if (found == NULL || (long) (r->serial - found->serial) < 0)
			found = r;
	}
	return found;
}

static int rule_add(const struct ip_portfw_rule *new)
{
	struct ip_portfw_rule *spare, *r;
	int err;

	/* what may sleep comes first, lest two make one rule twice */
	spare = kmalloc(sizeof(*spare), GFP_KERNEL);
	if (spare == NULL)
		return -ENOMEM;
	start_bh_atomic();
	while (!ip_portfw_active) {
		end_bh_atomic();
		err = tables_get();
		if (err) {
			kfree_s(spare, sizeof(*spare));
			return err;
		}
		start_bh_atomic();
	}

	r = rule_get(new->protocol, new->laddr, new->lport);
	if (r) {
		table_take(&rules_to, &r->to);
		port_unused(r->rport);
		r->raddr = new->raddr;
		r->rport = new->rport;
	} else {
		r = spare;
		spare = NULL;
		*r = *new;
		table_put(&rules_from, &r->from, r->protocol, r->laddr,
			  r->lport);
		port_used(r->lport);
		r->serial = ++rules_serial;
		r->next = NULL;
		r->pprev = rules_end;
		*rules_end = r;
		rules_end = &r->next;
		if (r->laddr == 0)
			rules_any++;
	}
	table_put(&rules_to, &r->to, r->protocol, r->raddr, r->rport);
	port_used(r->rport);
	end_bh_atomic();
	if (spare)
		kfree_s(spare, sizeof(*spare));
	return 0;
}

static void rule_free(struct ip_portfw_rule *r)
{
	start_bh_atomic();
	table_take(&rules_from, &r->from);
	table_take(&rules_to, &r->to);
	port_unused(r->lport);
	port_unused(r->rport);
	*r->pprev = r->next;
	if (r->next)
		r->next->pprev = r->pprev;
	else
		rules_end = r->pprev;
	if (r->laddr == 0)
		rules_any--;
	tables_put();
	end_bh_atomic();
	kfree_s(r, sizeof(*r));
}

/*
 *	Connections
 */

static __inline__ struct fifo *fifo_of(const struct ip_portfw_conn *c)
{
	return c->flags & CONN_YOUNG && !(c->flags & CONN_ANSWERED &&
					  c->ms.protocol == IPPROTO_UDP) ?
		&half_open : &answered_udp;
}

static void fifo_put(struct ip_portfw_conn *c)
{
	struct fifo *fifo = fifo_of(c);

	c->fifo_next = NULL;
	c->fifo_pprev = fifo->last;
	*fifo->last = c;
	fifo->last = &c->fifo_next;
	fifo->count++;
}

static void fifo_take(struct ip_portfw_conn *c)
{
	struct fifo *fifo = fifo_of(c);

	*c->fifo_pprev = c->fifo_next;
	if (c->fifo_next)
		c->fifo_next->fifo_pprev = c->fifo_pprev;
	else
		fifo->last = c->fifo_pprev;
	c->fifo_pprev = NULL;
	fifo->count--;
}

/*
 *	The connection is proven.
 */
static void conn_open(struct ip_portfw_conn *c)
{
	fifo_take(c);
	c->flags &= ~(CONN_YOUNG | CONN_ANSWERED | CONN_OUTWARD);
	if (c->ms.protocol == IPPROTO_UDP)
		fifo_put(c);
}

/*
 *	Has the connection come to its end?
 */
static __inline__ int conn_over(const struct ip_portfw_conn *c)
{
	return c->flags & CONN_RST || (c->flags & CONN_FIN) == CONN_FIN;
}

/*
 *	Takes a connection, or a twin, out of the index.
 */
static void conn_unlink(struct ip_portfw_conn *c)
{
	table_take(&index, entry_of(c));
	port_unused(c->ms.mport);
	port_unused(c->ms.sport);
	if (c->flags & (CONN_TWIN | CONN_SELF)) {
		port_unused(c->ms.dport);
		reflected--;
	}
}

static void conn_release(struct ip_portfw_conn *c)
{
	kfree_s(c, sizeof(*c));
	conns--;
}

/*
 *	The end of a connection, not for a twin.
 */
static void conn_free(struct ip_portfw_conn *c)
{
	struct ip_portfw_conn *twin = c->twin, *control = control_of(c);

	if (c->flags & CONN_HELPED) {
		control = NULL;
		if (expected_by(c))
			conn_free(expected_by(c));
	}
	del_timer(&c->ms.timer);
	if (c->fifo_pprev)
		fifo_take(c);
	if (c->flags & CONN_EXPECTED) {
		expected--;
		if (c->ms.sport == 0 && --expected_out == 0)
			ip_portfw_out_mask = IP_PORTFW_PORTS - 1;
		control->ms.app_data = NULL;
	}
	if (last_in == c)
		last_in = NULL;
	conn_unlink(c);
	if (twin) {
		conn_unlink(twin);
		conn_release(twin);
	}
	if (control) {
		/* an FTP client goes on with its control connection now */
		if ((long) (control->expires - jiffies) <
		    ip_masq_expire->tcp_timeout && !conn_over(control))
			control->expires = jiffies +
				ip_masq_expire->tcp_timeout;
		if (--control->children == 0 && control->flags & CONN_GONE)
			conn_release(control);
	}
	if (c->children)
		c->flags |= CONN_GONE;
	else
		conn_release(c);
	tables_put();
}

/*
 *	The timer is left alone while packets only put its end off; it finds
 *	out by itself that it was early.
 */
static void conn_timer(unsigned long data)
{
	struct ip_portfw_conn *c = (struct ip_portfw_conn *) data;

	if (c->children && !conn_over(c) && (long) (c->expires - jiffies) <= 0)
		c->expires = jiffies + ip_masq_expire->tcp_timeout;
	if ((long) (c->expires - jiffies) > 0) {
		c->ms.timer.expires = c->expires;
		add_timer(&c->ms.timer);
	} else
		conn_free(c);
}

static void conn_hasten(struct ip_portfw_conn *c)
{
	del_timer(&c->ms.timer);
	c->ms.timer.expires = c->expires;
	add_timer(&c->ms.timer);
}

static __inline__ void conn_expire_in(struct ip_portfw_conn *c,
				      unsigned long timeout)
{
	c->expires = jiffies + timeout;
	if ((long) (c->ms.timer.expires - c->expires) > 0)
		conn_hasten(c);
}

/*
 *	RFC 1624: a checksum after 32 or 16 bits that it covers have changed.
 */
static __inline__ __u16 check_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	return ~sum;
}

static __inline__ __u32 check_change(__u32 from, __u32 to)
{
	return (~from & 0xffff) + (~from >> 16) + (to & 0xffff) + (to >> 16);
}

/*
 *	Makes an entry of the index, not yet more. Returns NULL when there is
 *	no memory.
 */
static struct ip_portfw_conn *conn_alloc(int protocol,
					 __u32 saddr, __u16 sport,
					 __u32 client, __u16 port,
					 __u32 maddr, __u16 mport,
					 unsigned flags)
{
	struct ip_portfw_conn *c;

	c = kmalloc(sizeof(*c), GFP_ATOMIC);
	if (c == NULL)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->ms.protocol = protocol;
	c->ms.saddr = saddr;
	c->ms.sport = sport;
	c->ms.daddr = client;
	c->ms.dport = port;
	c->ms.maddr = maddr;
	c->ms.mport = mport;
	c->flags = flags;
	c->change = ~check_fold(check_change(maddr, saddr) +
				(__u16) ~mport + sport);
	table_put(&index, entry_of(c), protocol, client, port);
	conns++;
	port_used(mport);
	port_used(sport);
	if (flags & (CONN_TWIN | CONN_SELF)) {
		port_used(port);
		reflected++;
	}
	return c;
}

/*
 *	Makes a connection, for which older ones may have to give way.
 *	entries is 2 if it will have a twin. Returns NULL when there is no room.
 */
static struct ip_portfw_conn *conn_new(int protocol,
				       __u32 saddr, __u16 sport,
				       __u32 client, __u16 port,
				       __u32 maddr, __u16 mport,
				       unsigned flags, unsigned entries)
{
	struct ip_portfw_conn *c;
	int tries = GIVE_WAY;

	if (half_open.count >= HALF_OPEN_MAX)
		conn_free(half_open.first);
	while (conns + entries > CONNS_MAX) {
		c = answered_udp.first ? answered_udp.first : half_open.first;
		if (c == NULL || tries-- == 0)
			return NULL;
		conn_free(c);
	}
	c = conn_alloc(protocol, saddr, sport, client, port, maddr, mport,
		       flags | CONN_YOUNG);
	if (c == NULL)
		return NULL;
	fifo_put(c);
	init_timer(&c->ms.timer);
	c->ms.timer.data = (unsigned long) c;
	c->ms.timer.function = conn_timer;
	c->ms.timer.expires = c->expires = jiffies + HALF_OPEN_EXPIRE;
	add_timer(&c->ms.timer);
	return c;
}

/*
 *	The connection that a packet from the client to maddr:mport belongs
 *	to, in the chain from e on, or NULL.
 */
static __inline__ struct ip_portfw_conn *conn_in(struct entry *e, int protocol,
						 __u32 client, __u16 port,
						 __u32 maddr, __u16 mport)
{
	struct ip_portfw_conn *c;

	for (; e; e = e->next) {
		c = (struct ip_portfw_conn *) e;
		if (c->ms.daddr == client && c->ms.dport == port &&
		    c->ms.maddr == maddr && c->ms.mport == mport &&
		    c->ms.protocol == protocol)
			return c;
	}
	return NULL;
}

/*
 *	The connection that a packet from saddr:sport inside to the client
 *	belongs to. Those with one of these flags are passed by.
 */
static __inline__ struct ip_portfw_conn *conn_out(struct entry *e, int protocol,
						  __u32 saddr, __u16 sport,
						  __u32 client, __u16 port,
						  unsigned but)
{
	struct ip_portfw_conn *c;

	for (; e; e = e->next) {
		c = (struct ip_portfw_conn *) e;
		if (c->ms.daddr == client && c->ms.dport == port &&
		    c->ms.saddr == saddr && c->ms.sport == sport &&
		    c->ms.protocol == protocol && !(c->flags & but))
			return c;
	}
	return NULL;
}

/*
 *	The same where it is not every packet's way. To the host inside a
 *	reflected connection is known by its twin alone.
 */
static struct ip_portfw_conn *find_in(int protocol, __u32 client, __u16 port,
				      __u32 maddr, __u16 mport)
{
	return conn_in(table_first(&index, protocol, client, port),
		       protocol, client, port, maddr, mport);
}

static struct ip_portfw_conn *find_out(int protocol, __u32 saddr, __u16 sport,
				       __u32 client, __u16 port)
{
	return conn_out(table_first(&index, protocol, client, port),
			protocol, saddr, sport, client, port, CONN_REFLECTED);
}

/*
 *	The host inside may know the client by another name, its twin's.
 */
static __inline__ struct ip_portfw_conn *conn_seen_inside(struct ip_portfw_conn *c)
{
	return c->flags & CONN_REFLECTED ? c->twin : c;
}

/*
 *	Packets
 */

/*
 *	The ports of a packet of which at least its first transport header is
 *	whole; NULL if it has none that we could follow. skb->len has been
 *	trimmed to the datagram by now, or is that of the reassembled one.
 */
static __inline__ __u16 *packet_ports(const struct sk_buff *skb)
{
	struct iphdr *iph = skb->h.iph;
	unsigned need = iph->ihl * 4;

	if (iph->protocol == IPPROTO_TCP)
		need += sizeof(struct tcphdr);
	else if (iph->protocol == IPPROTO_UDP)
		need += sizeof(struct udphdr);
	else
		return NULL;
	if (skb->len < need || iph->frag_off & htons(0x1fff))
		return NULL;
	return (__u16 *) ((char *) iph + iph->ihl * 4);
}

/*
 *	Is the packet whole, with its transport checksum right?
 */
static int packet_sound(const struct sk_buff *skb, __u16 *ports)
{
	struct iphdr *iph = skb->h.iph;
	unsigned len = skb->len - iph->ihl * 4;

	if (iph->protocol == IPPROTO_TCP) {
		unsigned head = ((struct tcphdr *) ports)->doff * 4;

		if (head < sizeof(struct tcphdr) || head > len)
			return 0;
	} else {
		struct udphdr *uh = (struct udphdr *) ports;
		unsigned ulen = ntohs(uh->len);

		if (ulen < sizeof(*uh) || ulen > len)
			return 0;
		if (uh->check == 0)
			return 1;
		len = ulen;
	}
	return csum_tcpudp_magic(iph->saddr, iph->daddr, len, iph->protocol,
				 csum_partial((unsigned char *) ports, len,
					      0)) == 0;
}

/*
 *	May a connection begin with this packet of a client? A SYN begins one;
 *	so does the middle of one that was there before the gateway was
 *	started; never a packet that isn't sound.
 */
static int packet_begins(const struct sk_buff *skb, __u16 *ports)
{
	struct tcphdr *th = (struct tcphdr *) ports;

	if (skb->h.iph->protocol == IPPROTO_TCP &&
	    (th->rst || th->syn == th->ack || ports[0] == 0))
		return 0;
	return packet_sound(skb, ports);
}

/*
 *	Adjusts the checksum of a TCP or UDP header by the change.
 */
static __inline__ void check_adjust(int protocol, __u16 *ports, __u32 change)
{
	__u16 *check;

	if (protocol == IPPROTO_TCP) {
		check = &((struct tcphdr *) ports)->check;
		*check = check_fold((__u16) ~*check + change);
	} else {
		check = &((struct udphdr *) ports)->check;
		if (*check) {
			*check = check_fold((__u16) ~*check + change);
			if (*check == 0)
				*check = 0xffff;
		}
	}
}

/*
 *	Gives a header, of which len bytes are there, other ends. Both
 *	checksums are adjusted by the difference, if they are there: what was
 *	wrong before stays wrong.
 */
static void header_rewrite(struct iphdr *iph, __u16 *ports, unsigned len,
			   __u32 saddr, __u16 sport, __u32 daddr, __u16 dport)
{
	__u32 change = check_change(iph->saddr, saddr) +
		check_change(iph->daddr, daddr);

	iph->check = check_fold((__u16) ~iph->check + change);
	change += (__u16) ~ports[0] + sport + (__u16) ~ports[1] + dport;
	if (iph->protocol == IPPROTO_UDP ||
	    len >= iph->ihl * 4 + sizeof(struct tcphdr) - 2)
		check_adjust(iph->protocol, ports, change);
	iph->saddr = saddr;
	iph->daddr = daddr;
	ports[0] = sport;
	ports[1] = dport;
}

/*
 *	The same for a packet. Its IP header was right, but has lost its
 *	checksum if it was reassembled.
 */
static void packet_rewrite(struct iphdr *iph, __u16 *ports,
			   __u32 saddr, __u16 sport, __u32 daddr, __u16 dport)
{
	header_rewrite(iph, ports, ~0, saddr, sport, daddr, dport);
	ip_send_check(iph);
}

/*
 *	Is it one of the many that only go on with an open connection?
 */
static __inline__ int packet_plain(const struct ip_portfw_conn *c,
				   __u16 *ports)
{
	struct tcphdr *th = (struct tcphdr *) ports;

	return c->flags == 0 && (c->ms.protocol == IPPROTO_UDP ||
				 !(th->fin | th->syn | th->rst));
}

static __inline__ void conn_touch(struct ip_portfw_conn *c)
{
	conn_expire_in(c, c->ms.protocol == IPPROTO_UDP ?
		       ip_masq_expire->udp_timeout :
		       ip_masq_expire->tcp_timeout);
}

/*
 *	Notes what the packet tells about its connection, and when to forget
 *	it. outward is 0 or CONN_OUTWARD.
 */
static void conn_saw(struct ip_portfw_conn *c, __u16 *ports, unsigned outward)
{
	struct tcphdr *th = (struct tcphdr *) ports;
	unsigned long timeout;
	__u32 ahead;

	if (c->ms.protocol == IPPROTO_UDP) {
		timeout = ip_masq_expire->udp_timeout;
		if (!(c->flags & CONN_YOUNG))
			;
		else if ((c->flags & CONN_OUTWARD) != outward) {
			if (!(c->flags & CONN_ANSWERED)) {
				fifo_take(c);
				c->flags |= CONN_ANSWERED;
				fifo_put(c);
			}
		} else if (c->flags & CONN_ANSWERED)
			conn_open(c);
		else
			return;
		conn_expire_in(c, timeout);
		return;
	}

	/* the ends repeat a reset that was meant */
	c->flags &= ~CONN_RST;
	if (th->rst)
		c->flags |= CONN_RST;
	else if (!(c->flags & CONN_YOUNG))
		;
	else if (outward) {
		c->flags |= CONN_ANSWERED;
		answer_seq(c) = ntohl(th->seq) + th->syn;
		answer_amid(c) = !th->syn;
	} else if (c->flags & CONN_ANSWERED && th->ack) {
		/* who can't see the answer can't acknowledge it */
		ahead = ntohl(th->ack_seq) - answer_seq(c);
		if (ahead + 0xffff <= 0x1fffe)
			conn_open(c);
	}
	if (th->fin)
		c->flags |= outward ? CONN_FIN_OUT : CONN_FIN_IN;
	if (c->flags & CONN_RST)
		timeout = RST_EXPIRE;
	else if ((c->flags & CONN_FIN) == CONN_FIN)
		timeout = ip_masq_expire->tcp_fin_timeout;
	else
		timeout = ip_masq_expire->tcp_timeout;
	if (!(c->flags & CONN_YOUNG) ||
	    (long) (c->expires - jiffies) > (long) timeout)
		conn_expire_in(c, timeout);
}

/*
 *	FTP: the helper may change the text, and the sequence numbers must
 *	follow. What it looks at has to be sound.
 */
static void packet_help(struct ip_portfw_conn *c, struct sk_buff **skb_p,
			struct device *dev, __u16 *ports, int outward)
{
	struct sk_buff *skb;
	struct iphdr *iph;
	struct tcphdr *th = (struct tcphdr *) ports;
	unsigned len;

	if (outward) {
		/* begun anew, unless it is a SYN that was long on its way */
		if (th->syn && c->ms.out_seq.init_seq - ntohl(th->seq) >
		    SYN_LATE) {
			c->ms.flags &= ~IP_MASQ_F_OUT_SEQ;
			memset(&c->ms.out_seq, 0, sizeof(c->ms.out_seq));
		}
		ip_masq_app_pkt_out(&c->ms, skb_p, dev);
	} else
		ip_masq_app_pkt_in(&c->ms, skb_p, dev);
	skb = *skb_p;
	iph = skb->h.iph;
	th = (struct tcphdr *) ((char *) iph + iph->ihl * 4);
	len = skb->len - iph->ihl * 4;
	skb->csum = csum_partial((unsigned char *) (th + 1),
				 len - sizeof(*th), 0);
	tcp_send_check(th, iph->saddr, iph->daddr, len, skb);
	ip_send_check(iph);
}

static int ftp_wanted(__u16 port)
{
	struct ip_masq_app *app = ip_masq_app_get(IPPROTO_TCP, port);

	return app && strcmp(app->name, "ftp") == 0;
}

static void conn_bind_ftp(struct ip_portfw_conn *c)
{
	if (c->ms.protocol == IPPROTO_TCP &&
	    (ftp_wanted(c->ms.sport) || ftp_wanted(c->ms.mport))) {
		c->ms.app = &ip_portfw_ftp;
		c->flags |= CONN_HELPED;
	}
}

/*
 *	Beginnings
 */

/*
 *	Has the gateway itself a connection with these ends? One that is only
 *	being waited out doesn't keep a new one away.
 */
static int socket_has(int protocol, __u32 saddr, __u16 sport,
		      __u32 daddr, __u16 dport, struct device *dev, int syn)
{
	struct sock *sk;

	if (protocol == IPPROTO_TCP)
		sk = tcp_v4_lookup(saddr, sport, daddr, dport, dev);
	else
		sk = udp_v4_lookup(saddr, sport, daddr, dport, dev);
	return sk && sk->daddr == saddr && sk->dummy_th.dest == sport &&
		!(syn && sk->state == TCP_TIME_WAIT);
}

/*
 *	Could this be the address of a client that a packet from dev has?
 */
static int client_ok(__u32 addr, struct device *dev)
{
	__u32 first = ntohl(addr) >> 24;

	if (first == 0 || first == 127 || first >= 224 ||
	    ip_chk_addr(addr) == IS_BROADCAST)
		return 0;
	return dev->flags & IFF_LOOPBACK || !addr_is_ours(addr);
}

/*
 *	Aliases are further names of a wire.
 */
static __inline__ struct device *wire(struct device *dev)
{
#ifdef CONFIG_NET_ALIAS
	return net_alias_main_dev(dev);
#else
	return dev;
#endif
}

/*
 *	Interfaces that only send, such as shaper's, have the address of the one
 *	that they send by.
 */
static int same_wire(struct device *a, struct device *b)
{
	return wire(a) == wire(b) || (a->pa_addr && a->pa_addr == b->pa_addr);
}

/*
 *	Is the packet one from outside, with the address of a host inside? It
 *	has come by the wire that it is to leave by, but not from there. What
 *	comes out of a tunnel came by the wire that carries it.
 */
static int forged(const struct sk_buff *skb, struct device *dev)
{
	struct rtable *rt;
	int ret;

	if (!same_wire(skb->dev, dev))
		return 0;
	rt = route_to(skb->h.iph->saddr);
	if (rt == NULL)
		return 1;
	ret = !same_wire(rt->rt_dev, dev) && rt->rt_dev->type != ARPHRD_TUNNEL;
	ip_rt_put(rt);
	return ret;
}

/*
 *	Tells the client that it can't have this connection.
 */
static void refuse(struct sk_buff *skb, struct device *dev, __u16 *ports)
{
	struct iphdr *iph = skb->h.iph;

	if (iph->protocol == IPPROTO_TCP)
		tcp_send_reset(iph->daddr, iph->saddr, (struct tcphdr *) ports,
			       &tcp_prot, NULL, dev, iph->tos, 255);
	else {
		skb->len -= QUOTED_TOO_MUCH(iph);
		port_unreachable(skb, dev);
	}
}

/*
 *	Makes a connection of a client that the host inside could answer
 *	directly, where we wouldn't see it: to that host it has to look like
 *	one from our interface there, out. A second entry, the twin, finds the
 *	answers by the address and port that the host inside sees; the first
 *	has the client's, and all the rest.
 */
static struct ip_portfw_conn *reflect(int protocol, __u32 saddr, __u16 sport,
				      __u32 client, __u16 port,
				      __u32 maddr, __u16 mport,
				      struct device *out)
{
	static unsigned next = 0;
	struct ip_portfw_conn *c, *twin;
	__u32 seen = out->pa_addr;
	__u16 seen_port;
	int tries = REFLECT_TRIES;

	do {
		if (tries-- == 0)
			return NULL;
		seen_port = htons(REFLECT_FIRST + next++ % REFLECT_PORTS);
	} while (find_out(protocol, saddr, sport, seen, seen_port) ||
		 find_in(protocol, saddr, sport, seen, seen_port) ||
		 socket_has(protocol, saddr, sport, seen, seen_port, out, 0));

	c = conn_new(protocol, saddr, sport, client, port, maddr, mport,
		     CONN_REFLECTED, 2);
	if (c == NULL)
		return NULL;
	twin = conn_alloc(protocol, saddr, sport, seen, seen_port,
			  maddr, mport, CONN_TWIN);
	if (twin == NULL) {
		conn_free(c);
		return NULL;
	}
	twin->twin = c;
	c->twin = twin;
	return c;
}

/*
 *	The connection that the expected one has become, or NULL. The expected
 *	is gone then. control is held by hand, lest it go with it.
 */
static struct ip_portfw_conn *expected_came(struct ip_portfw_conn *e,
					    __u16 sport, __u16 port,
					    __u16 mport, unsigned flags)
{
	struct ip_portfw_conn *c, *control = control_of(e);
	__u32 saddr = e->ms.saddr, client = e->ms.daddr, maddr = e->ms.maddr;

	control->children++;
	conn_free(e);
	c = conn_new(IPPROTO_TCP, saddr, sport, client, port, maddr, mport,
		     flags, 1);
	if (c)
		c->ms.app_data = control;
	else
		control->children--;
	return c;
}

static __inline__ int still_expected(const struct ip_portfw_conn *e)
{
	return e && e->flags & CONN_EXPECTED && !conn_over(control_of(e));
}

/*
 *	What a control connection announced before is no longer waited for.
 */
static void expect_no_more(struct ip_portfw_conn *control)
{
	struct ip_portfw_conn *c = expected_by(control);

	if (c)
		conn_free(c);
}

static void expect(struct ip_portfw_conn *control, __u16 sport, __u16 port,
		   __u16 mport)
{
	struct ip_portfw_conn *c;

	expect_no_more(control);
	if (control->children >= CHILDREN_MAX)
		return;
	c = conn_new(IPPROTO_TCP, control->ms.saddr, sport,
		     control->ms.daddr, port, control->ms.maddr, mport,
		     CONN_EXPECTED, 1);
	if (c == NULL)
		return;
	expected++;
	if (sport == 0) {
		expected_out++;
		ip_portfw_out_mask = 0;
	}
	c->ms.app_data = control;
	control->ms.app_data = c;
	control->children++;
	conn_expire_in(c, EXPECT_EXPIRE);
}

int ip_portfw_expect_in(struct ip_masq *control, __u16 port)
{
	struct ip_portfw_rule *r = rule_match(IPPROTO_TCP, control->maddr,
					      port);

	if (r ? r->raddr != control->saddr || r->rport != port :
		tcp_v4_lookup(control->daddr, 0, control->maddr, port,
			      NULL) != NULL) {
		expect_no_more((struct ip_portfw_conn *) control);
		return 0;
	}
	expect((struct ip_portfw_conn *) control, port, 0, port);
	return 1;
}

void ip_portfw_expect_out(struct ip_masq *control, __u16 port)
{
	expect((struct ip_portfw_conn *) control, 0, port, 0);
}

/*
 *	The connection that a client's packet begins. NULL if it begins none:
 *	then *verdict tells what becomes of the packet.
 */
static struct ip_portfw_conn *begin_in(struct sk_buff *skb, struct device *dev,
				       __u16 *ports, int *verdict)
{
	struct iphdr *iph = skb->h.iph;
	struct tcphdr *th = (struct tcphdr *) ports;
	struct ip_portfw_conn *c, *e = NULL;
	struct ip_portfw_rule *r = NULL;
	struct ip_masq *ms;
	struct device *out = NULL;
	struct rtable *rt;
	int tcp = iph->protocol == IPPROTO_TCP;
	int self = dev->flags & IFF_LOOPBACK;
	__u32 raddr;
	__u16 rport;

	*verdict = 0;
	if (expected && tcp && th->syn && !th->ack) {
		e = find_in(IPPROTO_TCP, iph->saddr, 0,
				iph->daddr, ports[1]);
		if (!still_expected(e))
			e = NULL;
	}
	if (e) {
		raddr = e->ms.saddr;
		rport = e->ms.sport;
	} else {
		r = rule_match(iph->protocol, iph->daddr, ports[1]);
		if (r == NULL)
			return NULL;
		raddr = r->raddr;
		rport = r->rport;
	}
	if (!packet_begins(skb, ports))
		return NULL;

	/* what the gateway has already is not taken away */
	if (socket_has(iph->protocol, iph->saddr, ports[0], iph->daddr,
		       ports[1], dev, tcp && th->syn))
		return NULL;
#ifdef CONFIG_IP_MASQUERADE_IPAUTOFW
	if (ip_masq_in_get_2(iph->protocol, iph->saddr, ports[0],
			     iph->daddr, ports[1]))
		return NULL;
#endif

	*verdict = -1;
	if (!client_ok(iph->saddr, dev)) {
		if (self)
			*verdict = 0;
		return NULL;
	}
	rt = route_to(raddr);
	if (rt) {
		out = rt->rt_dev;
		ip_rt_put(rt);
	}
	if (out && out->flags & IFF_LOOPBACK) {
		/* it leads to ourselves: we are there already */
		*verdict = 0;
		return NULL;
	}
	if (iph->saddr == raddr && (out == NULL || wire(out) != wire(dev)))
		return NULL;
	if (out && out->pa_addr && out->pa_mask && !self &&
	    (out == dev || iph->saddr == raddr ||
	     !((iph->saddr ^ out->pa_addr) & out->pa_mask)))
		return reflect(iph->protocol, raddr, rport,
			       iph->saddr, ports[0], iph->daddr, ports[1],
			       out);

	/*
	 *	Two connections that would be one to the host inside: the
	 *	second is refused, unless the first has come to its end, or was
	 *	with an address that we no longer have. What masquerading has
	 *	counts only if it was answered: the gateway may have come up
	 *	amid ours, with masquerading first.
	 */
	c = find_out(iph->protocol, raddr, rport, iph->saddr, ports[0]);
	if (c && !(c->flags & CONN_TWIN) && !(e && c == control_of(e)) &&
	    (conn_over(c) || !addr_is_ours(c->ms.maddr))) {
		conn_free(c);
		c = NULL;
	}
	ms = tcp ? ip_masq_out_get_2(IPPROTO_TCP, raddr, rport,
				     iph->saddr, ports[0]) : NULL;
	if (c || (ms && (th->syn || !(ms->flags & IP_MASQ_F_NO_REPLY))) ||
	    (self && find_in(iph->protocol, raddr, rport,
			     iph->saddr, ports[0]))) {
		refuse(skb, dev, ports);
		return NULL;
	}

	if (e)
		return expected_came(e, rport, ports[0], ports[1], 0);
	c = conn_new(iph->protocol, raddr, rport, iph->saddr, ports[0],
		     iph->daddr, ports[1], self ? CONN_SELF : 0, 1);
	if (c && !self)
		conn_bind_ftp(c);
	return c;
}

/*
 *	The same for a packet of a host inside, about to go out by dev. Where
 *	connections lead, none may begin by masquerading what is left of one
 *	that we have forgotten.
 */
static struct ip_portfw_conn *begin_out(struct sk_buff *skb,
					struct device *dev,
					__u16 *ports, int *verdict)
{
	struct iphdr *iph = skb->h.iph;
	struct tcphdr *th = (struct tcphdr *) ports;
	struct ip_portfw_conn *c;
	struct ip_portfw_rule *r;
	int tcp = iph->protocol == IPPROTO_TCP, several;
	__u32 maddr;
	__u16 mport;

	*verdict = 0;
	if (tcp && th->syn && !th->ack) {
		/* it dials, which is our business if the client asked for it */
		c = expected ? find_out(IPPROTO_TCP, iph->saddr, 0,
					    iph->daddr, ports[1]) : NULL;
		if (!still_expected(c) || !packet_sound(skb, ports))
			return NULL;
		if (forged(skb, dev)) {
			*verdict = -1;
			return NULL;
		}
		mport = ports[0];
		if (ntohs(mport) + 1 == ntohs(control_of(c)->ms.sport))
			mport = htons(ntohs(control_of(c)->ms.mport) - 1);
		if (find_in(IPPROTO_TCP, iph->daddr, ports[1],
				c->ms.maddr, mport))
			return NULL;
		*verdict = -1;
		return expected_came(c, ports[0], ports[1], mport,
				     CONN_OUTWARD);
	}
	if (skb->dev == dev || forged(skb, dev))
		return NULL;
	r = rule_to(iph->protocol, iph->saddr, ports[0], &several);
	if (r == NULL && !(tcp && (th->syn || th->rst)))
		return NULL;
	if (ip_masq_out_get_2(iph->protocol, iph->saddr, ports[0],
			      iph->daddr, ports[1]))
		return NULL;
	*verdict = -1;
	if (tcp && (th->syn || th->rst || !th->ack || several || !ports[1]))
		return NULL;
	maddr = r->laddr ? r->laddr : dev->pa_addr;
	if (maddr == 0 || !addr_is_ours(maddr)) {
		/* such as the address of the last dial-up */
		*verdict = 0;
		return NULL;
	}
	if (!packet_sound(skb, ports) || !client_ok(iph->daddr, dev) ||
	    find_in(iph->protocol, iph->daddr, ports[1], maddr, r->lport))
		return NULL;
	c = conn_new(iph->protocol, r->raddr, r->rport, iph->daddr, ports[1],
		     maddr, r->lport, CONN_OUTWARD, 1);
	if (c)
		conn_bind_ftp(c);
	return c;
}

/*
 *	ICMP
 */

/*
 *	The ports in the header that the ICMP error in the packet quotes; NULL
 *	if it is none, or quotes too little. len is that of the ICMP message.
 */
static __u16 *error_ports(const struct sk_buff *skb, unsigned *len)
{
	struct iphdr *iph = skb->h.iph, *quoted;
	struct icmphdr *icmph = (struct icmphdr *) ((char *) iph +
						    iph->ihl * 4);

	if (iph->frag_off & htons(0x3fff) ||
	    skb->len < iph->ihl * 4 + sizeof(*icmph) + sizeof(*quoted) ||
	    (icmph->type != ICMP_DEST_UNREACH &&
	     icmph->type != ICMP_SOURCE_QUENCH &&
	     icmph->type != ICMP_TIME_EXCEEDED &&
	     icmph->type != ICMP_PARAMETERPROB))
		return NULL;
	*len = skb->len - iph->ihl * 4;
	quoted = (struct iphdr *) (icmph + 1);
	if (quoted->saddr != iph->daddr ||
	    quoted->ihl < 5 || quoted->version != 4 ||
	    *len < sizeof(*icmph) + quoted->ihl * 4 + 8 ||
	    quoted->frag_off & htons(0x1fff) ||
	    (quoted->protocol != IPPROTO_TCP &&
	     quoted->protocol != IPPROTO_UDP))
		return NULL;
	return (__u16 *) ((char *) quoted + quoted->ihl * 4);
}

/*
 *	An ICMP error about a packet of a forwarded connection. Returns as
 *	ip_portfw_do_in() and ip_portfw_do_out() do.
 */
static int icmp_error(struct sk_buff *skb, int outward)
{
	struct iphdr *iph = skb->h.iph, *quoted;
	struct icmphdr *icmph;
	struct ip_portfw_conn *c, *seen;
	unsigned len;
	__u16 *ports = error_ports(skb, &len);
	int verdict = 1;

	if (ports == NULL)
		return 0;
	icmph = (struct icmphdr *) ((char *) iph + iph->ihl * 4);
	quoted = (struct iphdr *) (icmph + 1);

	c = NULL;
	if (!outward) {
		c = find_in(quoted->protocol, quoted->daddr, ports[1],
				quoted->saddr, ports[0]);
		if (c && c->flags & CONN_TWIN)
			c = NULL;
	}
	if (c) {
		/* about what the host inside has sent, though not from here */
		if (ip_compute_csum((unsigned char *) icmph, len))
			return -1;
		seen = conn_seen_inside(c);
		iph->daddr = c->ms.saddr;
		header_rewrite(quoted, ports, len - sizeof(*icmph),
			      c->ms.saddr, c->ms.sport,
			      seen->ms.daddr, seen->ms.dport);
	} else {
		/* about what the client has sent */
		if (!outward && !reflected)
			return 0;
		c = find_out(quoted->protocol, quoted->daddr, ports[1],
				 quoted->saddr, ports[0]);
		if (c == NULL ||
		    (!outward && !(c->flags & (CONN_TWIN | CONN_SELF))))
			return 0;
		if (ip_compute_csum((unsigned char *) icmph, len))
			return -1;
		if (c->flags & CONN_TWIN)
			c = c->twin;
		iph->saddr = c->ms.maddr;
		iph->daddr = c->ms.daddr;
		if (c->flags & CONN_SELF) {
			skb->ip_summed = CHECKSUM_NONE;
			verdict = 0;
		}
		header_rewrite(quoted, ports, len - sizeof(*icmph),
			      c->ms.daddr, c->ms.dport,
			      c->ms.maddr, c->ms.mport);
	}
	ip_send_check(iph);
	icmph->checksum = 0;
	icmph->checksum = ip_compute_csum((unsigned char *) icmph, len);
	return verdict;
}

/*
 *	If the packet is too long, ip_forward() has put back what it takes for
 *	the address that we have replaced: outward with the port, but not the
 *	checksums; inward that of the device, and only the packet before this
 *	can tell the right one.
 */
int ip_portfw_do_icmp_send(struct sk_buff *skb, int type, int code)
{
	struct iphdr *iph = skb->ip_hdr;
	__u16 *ports = (__u16 *) ((char *) iph + iph->ihl * 4);
	struct ip_portfw_conn *in, *out, *restored, *seen;
	int protocol = iph->protocol, ret = 0;

	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) ||
	    (unsigned char *) ports + (protocol == IPPROTO_TCP ?
	    sizeof(struct tcphdr) : sizeof(struct udphdr)) > skb->tail ||
	    iph->frag_off & htons(0x1fff))
		return 0;
	start_bh_atomic();
	if (!ip_portfw_active)
		goto done;
	in = find_out(protocol, iph->daddr, ports[1], iph->saddr, ports[0]);
	restored = find_out(protocol, iph->saddr, ports[0],
			    iph->daddr, ports[1]);
	if (type == ICMP_REDIRECT) {
		ret = in || restored;
		goto done;
	}
	if (type == ICMP_DEST_UNREACH && code == ICMP_FRAG_NEEDED) {
		seen = last_in ? conn_seen_inside(last_in) : NULL;
		if (seen && iph->daddr == skb->dev->pa_addr &&
		    ports[1] == seen->ms.sport &&
		    iph->saddr == seen->ms.daddr &&
		    ports[0] == seen->ms.dport &&
		    protocol == seen->ms.protocol) {
			in = seen;
			iph->daddr = in->ms.saddr;
		}
		if (restored) {
			iph->saddr = restored->ms.maddr;
			ports[0] = restored->ms.mport;
		}
	}
	out = find_in(protocol, iph->daddr, ports[1], iph->saddr, ports[0]);
	if ((in || out) && skb->data <= (unsigned char *) iph) {
		/* icmp_send() counts on there being no frame around it */
		skb_pull(skb, (unsigned char *) iph - skb->data);
		skb->len -= QUOTED_TOO_MUCH(iph);
	}
	if (in) {
		if (in->flags & CONN_TWIN)
			in = in->twin;
		packet_rewrite(iph, ports, in->ms.daddr, in->ms.dport,
			       in->ms.maddr, in->ms.mport);
	} else if (out) {
		seen = conn_seen_inside(out);
		packet_rewrite(iph, ports, out->ms.saddr, out->ms.sport,
			       seen->ms.daddr, seen->ms.dport);
	}
done:
	end_bh_atomic();
	return ret;
}

/*
 *	Every packet
 */

/*
 *	What needs a second look on its way in: the beginning and the end of a
 *	connection, and those that aren't like most.
 */
static int in_slow(struct sk_buff **skb_p, struct device *dev, __u16 *ports,
		   struct ip_portfw_conn *c)
{
	struct sk_buff *skb = *skb_p, *copy;
	struct iphdr *iph = skb->h.iph;
	struct tcphdr *th = (struct tcphdr *) ports;
	struct ip_portfw_conn *answered, *seen;
	int verdict;

	if (c && (c->flags & (CONN_EXPECTED | CONN_TWIN) ||
		  (c->flags & CONN_SELF && !(dev->flags & IFF_LOOPBACK))))
		return -1;
	/*
	 *	A SYN with the ports of a connection that is over begins a new
	 *	one, and the rule decides afresh.
	 */
	if (c && conn_over(c) && th->syn && packet_begins(skb, ports)) {
		conn_free(c);
		c = NULL;
	}
	if (c == NULL && reflected) {
		answered = find_out(iph->protocol, iph->saddr, ports[0],
					iph->daddr, ports[1]);
		if (answered && answered->flags & (CONN_TWIN | CONN_SELF)) {
			/* not from there, or what was inside is ourselves now */
			if (forged(skb, dev) || skb->data_skb)
				return -1;
			c = answered;
			if (c->flags & CONN_TWIN)
				c = c->twin;
			conn_saw(c, ports, CONN_OUTWARD);
			packet_rewrite(iph, ports, c->ms.maddr, c->ms.mport,
				       c->ms.daddr, c->ms.dport);
			/* the card's own sum, if it has one, is of the past */
			skb->ip_summed = CHECKSUM_NONE;
			return !(c->flags & CONN_SELF);
		}
	}
	if (c == NULL) {
		c = begin_in(skb, dev, ports, &verdict);
		if (c == NULL)
			return verdict;
	}
	if (c->flags & CONN_HELPED && !packet_sound(skb, ports))
		return -1;
	if (skb->data_skb) {
		/* a clone, such as of what the gateway may have to send again */
		copy = skb_copy(skb, GFP_ATOMIC);
		if (copy == NULL)
			return -1;
		copy->protocol = skb->protocol;
		kfree_skb(skb, FREE_WRITE);
		*skb_p = skb = copy;
		iph = skb->h.iph;
		ports = (__u16 *) ((char *) iph + iph->ihl * 4);
	}
	conn_saw(c, ports, 0);
	last_in = c;
	seen = conn_seen_inside(c);
	packet_rewrite(iph, ports, seen->ms.daddr, seen->ms.dport,
		       c->ms.saddr, c->ms.sport);
	if ((c->flags & (CONN_HELPED | CONN_YOUNG)) == CONN_HELPED)
		packet_help(c, skb_p, dev, ports, 0);
	return 1;
}

int ip_portfw_do_in(struct sk_buff **skb_p, struct device *dev)
{
	struct sk_buff *skb = *skb_p;
	struct iphdr *iph = skb->h.iph;
	struct ip_portfw_conn *c;
	__u16 *ports = packet_ports(skb);

	/* a frame that others got as well is not to be carried on */
	if (skb->pkt_type != PACKET_HOST)
		return 0;
#ifdef CONFIG_IP_TRANSPARENT_PROXY
	if (skb->redirport)
		return 0;
#endif
	if (ports == NULL)
		return iph->protocol == IPPROTO_ICMP ? icmp_error(skb, 0) : 0;
	c = conn_in(*table_chain(&index, hash(iph->protocol, iph->saddr,
					      ports[0])),
		    iph->protocol, iph->saddr, ports[0], iph->daddr, ports[1]);
	if (c == NULL || !packet_plain(c, ports))
		return in_slow(skb_p, dev, ports, c);
	conn_touch(c);
	last_in = c;
	check_adjust(iph->protocol, ports, c->change);
	iph->daddr = c->ms.saddr;
	ports[1] = c->ms.sport;
	ip_send_check(iph);
	return 1;
}

static int out_slow(struct sk_buff **skb_p, struct device *dev, __u16 *ports,
		    struct ip_portfw_conn *c)
{
	struct sk_buff *skb = *skb_p;
	struct iphdr *iph = skb->h.iph;
	struct tcphdr *th = (struct tcphdr *) ports;
	int verdict;

	if (c && c->flags & (CONN_EXPECTED | CONN_REFLECTED))
		c = find_out(iph->protocol, iph->saddr, ports[0],
			     iph->daddr, ports[1]);
	if (c && c->flags & CONN_EXPECTED)
		c = NULL;
	/* answers to ourselves come in, unless somebody has bent their route */
	if (c && (c->flags & (CONN_TWIN | CONN_SELF) || forged(skb, dev)))
		return -1;
	/*
	 *	The host inside dials the client from the port that we lead to:
	 *	it has forgotten our connection.
	 */
	if (c && c->ms.protocol == IPPROTO_TCP && th->syn && !th->ack &&
	    !(c->flags & CONN_OUTWARD) && packet_sound(skb, ports)) {
		conn_free(c);
		c = NULL;
	}
	if (c == NULL) {
		c = begin_out(skb, dev, ports, &verdict);
		if (c == NULL)
			return verdict;
	}
	if (c->flags & CONN_HELPED && !packet_sound(skb, ports))
		return -1;
	conn_saw(c, ports, CONN_OUTWARD);
	packet_rewrite(iph, ports, c->ms.maddr, c->ms.mport,
		       c->ms.daddr, c->ms.dport);
	if ((c->flags & (CONN_HELPED | CONN_YOUNG)) == CONN_HELPED)
		packet_help(c, skb_p, dev, ports, 1);
	return 1;
}

static __inline__ int do_out(struct sk_buff **skb_p, struct device *dev)
{
	struct sk_buff *skb = *skb_p;
	struct iphdr *iph = skb->h.iph;
	struct ip_portfw_conn *c;
	__u16 *ports = packet_ports(skb);

	if (ports == NULL)
		return iph->protocol == IPPROTO_ICMP ? icmp_error(skb, 1) : 0;
	c = conn_out(*table_chain(&index, hash(iph->protocol, iph->daddr,
					       ports[1])),
		     iph->protocol, iph->saddr, ports[0],
		     iph->daddr, ports[1], 0);
	if (c == NULL || !packet_plain(c, ports))
		return out_slow(skb_p, dev, ports, c);
	conn_touch(c);
	check_adjust(iph->protocol, ports, (__u16) ~c->change);
	iph->saddr = c->ms.maddr;
	ports[0] = c->ms.mport;
	ip_send_check(iph);
	return 1;
}

int ip_portfw_do_out(struct sk_buff **skb_p, struct device *dev)
{
	int ret;

	/*
	 *	mrouted has packets forwarded in its own context, where the last
	 *	connection may just have gone.
	 */
	start_bh_atomic();
	ret = ip_portfw_active ? do_out(skb_p, dev) : 0;
	end_bh_atomic();
	return ret;
}

/*
 *	User space
 */

/*
 *	Is this (host byte order) the address of one host? An interface whose
 *	own address isn't known yet makes ip_chk_addr() take every address for
 *	ours, so whether it is really another host's can't be asked here.
 */
static int edits_addr_ok(__u32 addr)
{
	return addr != 0 && addr < 0xe0000000 &&
		ip_chk_addr(htonl(addr)) != IS_BROADCAST;
}

int ip_portfw_ctl(int option, void *user, int len)
{
	struct ip_portfw_edits e;
	struct ip_portfw_rule rule, *r;
	int err;

	if (!suser())
		return -EPERM;
	if (len != sizeof(e))
		return -EINVAL;
	err = verify_area(VERIFY_READ, user, sizeof(e));
	if (err)
		return err;
	memcpy_fromfs(&e, user, sizeof(e));

	if (option == IP_PORTFW_FLUSH) {
		while (rules)
			rule_free(rules);
		return 0;
	}

	if (e.protocol != IPPROTO_TCP && e.protocol != IPPROTO_UDP)
		return -EINVAL;
	if (e.lport == 0 || (e.laddr != 0 && !edits_addr_ok(e.laddr)) ||
	    (e.lport >= IP_PORTFW_MASQ_FIRST && e.lport <= IP_PORTFW_MASQ_LAST))
		return -EINVAL;
	rule.protocol = e.protocol;
	rule.laddr = htonl(e.laddr);
	rule.lport = htons(e.lport);

	if (option == IP_PORTFW_DEL) {
		r = rules ? rule_get(rule.protocol, rule.laddr, rule.lport) :
			    NULL;
		if (r == NULL)
			return -ENOENT;
		rule_free(r);
		return 0;
	}

	if (e.rport == 0 || !edits_addr_ok(e.raddr) ||
	    LOOPBACK(htonl(e.raddr)))
		return -EINVAL;
	rule.raddr = htonl(e.raddr);
	rule.rport = htons(e.rport);
	return rule_add(&rule);
}

/*
 *	Lines as masquerading itself writes them, 128 bytes each.
 */
void ip_portfw_procinfo(char *buffer, int *len, off_t *pos, off_t offset,
			int length)
{
	struct ip_portfw_conn *c;
	struct ip_masq *ms;
	struct entry *e;
	char line[128];
	long left;
	unsigned i;

	for (i = 0; i < index.chains && *len < length; i++) {
		start_bh_atomic();
		e = ip_portfw_active && i < index.chains ?
			index.page[i / CHAINS_A_PAGE][i % CHAINS_A_PAGE] : NULL;
		for (; e && *len < length; e = e->next) {
			c = (struct ip_portfw_conn *) e;
			ms = &c->ms;
			if (c->flags & CONN_TWIN)
				continue;
			*pos += 128;
			if (*pos <= offset)
				continue;
			left = c->expires - jiffies;
			sprintf(line, "%s %08lX:%04X %08lX:%04X %04X %08X "
				"%6d %6d %7ld",
				ms->protocol == IPPROTO_TCP ? "TCP" : "UDP",
				(unsigned long) ntohl(ms->saddr),
				ntohs(ms->sport),
				(unsigned long) ntohl(ms->daddr),
				ntohs(ms->dport), ntohs(ms->mport),
				0, 0, 0, left > 0 ? left : 0);
			*len += sprintf(buffer + *len, "%-127s\n", line);
		}
		end_bh_atomic();
	}
}

#ifdef CONFIG_PROC_FS

/*
 *	/proc/net/ip_portfw. A reader has a line at a time by himself, so that
 *	he gets it whole however little he reads and whatever becomes of the
 *	rule; the next is that of the next younger rule. Rules change in process
 *	context only, so the list stands still while nothing sleeps.
 */
struct listing {
	unsigned long serial;		/* of the last rule listed	*/
	int	left;			/* of the line			*/
	char	line[IP_PORTFW_LINE + 1];
};

/*
 *	Writes "a.b.c.d/port" and returns its length.
 */
static int sprint_host(char *buf, __u32 addr, __u16 port)
{
	unsigned char *a = (unsigned char *) &addr;

	return sprintf(buf, "%d.%d.%d.%d/%d", a[0], a[1], a[2], a[3],
		       ntohs(port));
}

static void listing_line(struct listing *l, const char *text)
{
	sprintf(l->line, "%-*s\n", IP_PORTFW_LINE - 1, text);
	l->left = IP_PORTFW_LINE;
}

/*
 *	Goes on to the next line; returns 0 at the end.
 */
static int listing_next(struct listing *l)
{
	struct ip_portfw_rule *r;
	char text[IP_PORTFW_LINE];
	int n;

	for (r = rules; r && (long) (r->serial - l->serial) <= 0; r = r->next)
		;
	if (r == NULL)
		return 0;
	n = sprintf(text, "%s ", r->protocol == IPPROTO_TCP ? "TCP" : "UDP");
	n += sprint_host(text + n, r->laddr, r->lport);
	n += sprintf(text + n, " > ");
	sprint_host(text + n, r->raddr, r->rport);
	l->serial = r->serial;
	listing_line(l, text);
	return 1;
}

static void listing_begin(struct listing *l)
{
	l->serial = rules ? rules->serial - 1 : rules_serial;
	listing_line(l, IP_PORTFW_HEADING);
}

static int listing_open(struct inode *inode, struct file *file)
{
	file->private_data = kmalloc(sizeof(struct listing), GFP_KERNEL);
	if (file->private_data == NULL)
		return -ENOMEM;
	listing_begin(file->private_data);
	return 0;
}

static void listing_release(struct inode *inode, struct file *file)
{
	kfree_s(file->private_data, sizeof(struct listing));
}

static int listing_read(struct inode *inode, struct file *file, char *buf,
			int count)
{
	struct listing *l = file->private_data;
	int done = 0, n, from, err;

	if (count <= 0)
		return count ? -EINVAL : 0;
	err = verify_area(VERIFY_WRITE, buf, count);
	if (err)
		return err;
	if (file->f_pos == 0)
		listing_begin(l);
	while (done < count && (l->left || listing_next(l))) {
		n = count - done < l->left ? count - done : l->left;
		from = IP_PORTFW_LINE - l->left;
		l->left -= n;
		done += n;
		file->f_pos += n;
		memcpy_tofs(buf + done - n, l->line + from, n);
		if (need_resched)
			schedule();
	}
	return done;
}

static struct file_operations listing_file = {
	NULL,			/* lseek: only back to the beginning counts */
	listing_read,
	NULL,			/* write	*/
	NULL,			/* readdir	*/
	NULL,			/* select	*/
	NULL,			/* ioctl	*/
	NULL,			/* mmap		*/
	listing_open,
	listing_release
};

static struct inode_operations listing_inode = {
	&listing_file
};

static struct proc_dir_entry listing_entry = {
	0, 9, "ip_portfw", S_IFREG | S_IRUGO, 1, 0, 0, 0, &listing_inode
};

/*
 *	/proc/net/ip_portfw_limits: a name and a value a line, to be written
 *	the same way, one at a time.
 */
static int limits_read(struct inode *inode, struct file *file, char *buf,
		       int count)
{
	char text[LIMITS * 32];
	unsigned i;
	int err, n = 0;

	if (count < 0)
		return -EINVAL;
	for (i = 0; i < LIMITS; i++)
		n += sprintf(text + n, "%s %u\n", limits[i].name,
			     limits[i].value);
	if (file->f_pos < 0 || file->f_pos >= n)
		return 0;
	n -= file->f_pos;
	if (n > count)
		n = count;
	err = verify_area(VERIFY_WRITE, buf, n);
	if (err)
		return err;
	memcpy_tofs(buf, text + file->f_pos, n);
	file->f_pos += n;
	return n;
}

static int limits_write(struct inode *inode, struct file *file,
			const char *buf, int count)
{
	struct ip_portfw_conn *c;
	char text[32], *end;
	unsigned long value;
	unsigned i;
	int n, len, err;

	if (!suser())
		return -EPERM;
	if (count <= 0 || count >= (int) sizeof(text))
		return -EINVAL;
	err = verify_area(VERIFY_READ, buf, count);
	if (err)
		return err;
	memcpy_fromfs(text, buf, count);
	len = count - (text[count - 1] == '\n');
	text[len] = 0;

	for (i = 0; i < LIMITS; i++) {
		n = strlen(limits[i].name);
		if (strncmp(text, limits[i].name, n) == 0 && text[n] == ' ')
			break;
	}
	if (i == LIMITS || text[n + 1] < '1' || text[n + 1] > '9')
		return -EINVAL;
	value = simple_strtoul(text + n + 1, &end, 10);
	/* more than seven digits are too many in any case */
	if (end != text + len || len > n + 8 ||
	    value < limits[i].min || value > limits[i].max)
		return -EINVAL;
	limits[i].value = value;

	/* what is now too much goes, one by one */
	do {
		c = NULL;
		start_bh_atomic();
		if (conns > CONNS_MAX)
			c = answered_udp.first ? answered_udp.first : half_open.first;
		else if (half_open.count > HALF_OPEN_MAX)
			c = half_open.first;
		if (c)
			conn_free(c);
		end_bh_atomic();
	} while (c);
	return count;
}

static struct file_operations limits_file = {
	NULL,			/* lseek	*/
	limits_read,
	limits_write
};

static struct inode_operations limits_inode = {
	&limits_file
};

static struct proc_dir_entry limits_entry = {
	0, 16, "ip_portfw_limits", S_IFREG | S_IRUGO | S_IWUSR, 1, 0, 0, 0,
	&limits_inode
};

#endif /* CONFIG_PROC_FS */

void ip_portfw_init(void)
{
	CONNS_MAX = CONNS_A_PAGE * MAP_NR(high_memory);
	if (CONNS_MAX > CONNS_DEFAULT)
		CONNS_MAX = CONNS_DEFAULT;
#ifdef CONFIG_PROC_FS
	proc_register_dynamic(&proc_net, &listing_entry);
	proc_register_dynamic(&proc_net, &limits_entry);
#endif
}
