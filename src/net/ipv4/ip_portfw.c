/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	IP port forwarding
 *
 *	A forwarded connection is a masqueraded connection that began outside.
 *	Here are the rules that say which may begin, the index that finds the
 *	connections, the rewriting of their packets, and the two ways in from
 *	user space: setsockopt and /proc.
 *
 *	Packets are handled and timers expire in bottom halves, which never
 *	interrupt each other. Whatever user space asks for runs in process
 *	context and keeps bottom halves off, for a short and bounded time,
 *	where it touches what they use. Nothing here runs with interrupts off.
 *
 *	Addresses and ports are in network byte order unless said otherwise.
 */

#include <linux/config.h>
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
#include <linux/proc_fs.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/ip_portfw.h>
#include <net/checksum.h>
#include <net/ip_masq.h>
#include <asm/segment.h>

/*
 *	A rule: packets for laddr:lport begin connections to raddr:rport.
 */
struct ip_portfw_rule {
	struct ip_portfw_rule *hash_next;
	struct ip_portfw_rule *next, **pprev;	/* all, oldest first	*/
	__u32	laddr, raddr;			/* laddr 0: any of ours	*/
	__u16	lport, rport;
	__u16	protocol;
};

/*
 *	A connection: what masquerading would know of it, had saddr:sport
 *	inside dialled daddr:dport, the client, by way of maddr:mport. It is in
 *	our index alone and uses up no masquerading port.
 */
struct ip_portfw_conn {
	struct ip_masq	ms;		/* m_link is the index's chain	 */
	unsigned long	expires;	/* jiffies; the timer may be early */
	struct ip_portfw_conn *half_next, **half_pprev;
	unsigned	seen;
};

#define SEEN_FIN_IN	1
#define SEEN_FIN_OUT	2
#define SEEN_FIN	(SEEN_FIN_IN | SEEN_FIN_OUT)
#define SEEN_RST	4
#define SEEN_ANSWER	8

/*
 *	A connection is half open until the host inside has answered, and of
 *	TCP until the client has taken up the answer. They are few, the oldest
 *	gives way, and they are soon forgotten, counted from their first packet:
 *	nobody keeps one, or a rule that is gone, alive from outside alone.
 */
#define HALF_OPEN_MAX		1024
#define HALF_OPEN_EXPIRE	(60 * HZ)

/*
 *	After a reset nothing more should come. What does all the same, sent
 *	before the other side knew, must not look like a new connection.
 */
#define RST_EXPIRE		(10 * HZ)

#define CONN_BITS	10
#define RULE_BITS	8

/*
 *	The index of connections; NULL as long as there is neither a rule nor
 *	a connection. Its page and that of the rules come and go together.
 */
void *ip_portfw_active = NULL;
#define conn_tab ((struct ip_masq **) ip_portfw_active)

static struct ip_portfw_rule **rule_tab = NULL;
static struct ip_portfw_rule *rules = NULL, **rules_end = &rules;
static int rules_any = 0;		/* rules for any local address	*/
static unsigned conns = 0;

static struct ip_portfw_conn *half_open = NULL, **half_open_end = &half_open;
static unsigned half_opens = 0;

/*
 *	Multilinear hashing of 16-bit words: strongly universal in the upper
 *	16 bits, so that nobody who doesn't know the secret can choose
 *	addresses and ports that meet in one chain.
 */
static unsigned hash_secret[5];

static __inline__ unsigned hash(int protocol, __u32 addr, __u16 port, int bits)
{
	return (hash_secret[0] + hash_secret[1] * (addr & 0xffff) +
		hash_secret[2] * (addr >> 16) + hash_secret[3] * port +
		hash_secret[4] * protocol) >> (32 - bits);
}

/*
 *	The tables
 */

/*
 *	Makes the tables if they are not there. Process context, may sleep.
 *	Returns 0 or -ENOMEM.
 */
static int tables_get(void)
{
	unsigned long conn_page, rule_page;

	if (ip_portfw_active)
		return 0;
	conn_page = get_free_page(GFP_KERNEL);
	rule_page = get_free_page(GFP_KERNEL);
	if (conn_page && rule_page && !ip_portfw_active) {
		get_random_bytes(hash_secret, sizeof(hash_secret));
		rule_tab = (struct ip_portfw_rule **) rule_page;
		ip_portfw_active = (void *) conn_page;
		return 0;
	}
	/* somebody else may have made them while we slept */
	if (conn_page)
		free_page(conn_page);
	if (rule_page)
		free_page(rule_page);
	return ip_portfw_active ? 0 : -ENOMEM;
}

/*
 *	Gives the tables back when nothing is left in them.
 */
static void tables_put(void)
{
	void *conn_page = ip_portfw_active;

	if (rules || conns || !conn_page)
		return;
	ip_portfw_active = NULL;
	free_page((unsigned long) conn_page);
	free_page((unsigned long) rule_tab);
	rule_tab = NULL;
}

/*
 *	Rules
 */

static __inline__ struct ip_portfw_rule **rule_chain(int protocol, __u32 laddr,
						     __u16 lport)
{
	return &rule_tab[hash(protocol, laddr, lport, RULE_BITS)];
}

/*
 *	The rule for exactly this local address, or NULL.
 */
static struct ip_portfw_rule *rule_get(int protocol, __u32 laddr, __u16 lport)
{
	struct ip_portfw_rule *r;

	for (r = *rule_chain(protocol, laddr, lport); r; r = r->hash_next)
		if (r->laddr == laddr && r->lport == lport &&
		    r->protocol == protocol)
			break;
	return r;
}

/*
 *	The rule that a packet for daddr:dport meets, or NULL. Broadcasts and
 *	the loopback network are no addresses that "any" speaks of.
 */
static struct ip_portfw_rule *rule_match(int protocol, __u32 daddr, __u16 dport)
{
	struct ip_portfw_rule *r;

	if (!rules)
		return NULL;
	r = rule_get(protocol, daddr, dport);
	if (r == NULL && rules_any && !LOOPBACK(daddr) &&
	    ip_chk_addr(daddr) == IS_MYADDR)
		r = rule_get(protocol, 0, dport);
	return r;
}

static int rule_add(const struct ip_portfw_rule *new)
{
	struct ip_portfw_rule *spare, *r, **chain;
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
		r->raddr = new->raddr;
		r->rport = new->rport;
	} else {
		r = spare;
		spare = NULL;
		*r = *new;
		chain = rule_chain(r->protocol, r->laddr, r->lport);
		r->hash_next = *chain;
		*chain = r;
		r->next = NULL;
		r->pprev = rules_end;
		*rules_end = r;
		rules_end = &r->next;
		if (r->laddr == 0)
			rules_any++;
	}
	end_bh_atomic();
	if (spare)
		kfree_s(spare, sizeof(*spare));
	return 0;
}

static void rule_free(struct ip_portfw_rule *r)
{
	struct ip_portfw_rule **p;

	start_bh_atomic();
	p = rule_chain(r->protocol, r->laddr, r->lport);
	while (*p != r)
		p = &(*p)->hash_next;
	*p = r->hash_next;
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

static __inline__ struct ip_masq **conn_chain(int protocol, __u32 client,
					      __u16 port)
{
	return &conn_tab[hash(protocol, client, port, CONN_BITS)];
}

static void half_open_over(struct ip_portfw_conn *c)
{
	*c->half_pprev = c->half_next;
	if (c->half_next)
		c->half_next->half_pprev = c->half_pprev;
	else
		half_open_end = c->half_pprev;
	c->half_pprev = NULL;
	half_opens--;
}

static void conn_free(struct ip_portfw_conn *c)
{
	struct ip_masq **p;

	del_timer(&c->ms.timer);
	if (c->half_pprev)
		half_open_over(c);
	p = conn_chain(c->ms.protocol, c->ms.daddr, c->ms.dport);
	while (*p != &c->ms)
		p = &(*p)->m_link;
	*p = c->ms.m_link;
	kfree_s(c, sizeof(*c));
	conns--;
	tables_put();
}

/*
 *	The timer is left alone while packets only put its end off; it finds
 *	out by itself that it was early.
 */
static void conn_timer(unsigned long data)
{
	struct ip_portfw_conn *c = (struct ip_portfw_conn *) data;

	if ((long) (c->expires - jiffies) > 0) {
		c->ms.timer.expires = c->expires;
		add_timer(&c->ms.timer);
	} else
		conn_free(c);
}

static __inline__ void conn_expire_in(struct ip_portfw_conn *c,
				      unsigned long timeout)
{
	c->expires = jiffies + timeout;
	if ((long) (c->ms.timer.expires - c->expires) > 0) {
		del_timer(&c->ms.timer);
		c->ms.timer.expires = c->expires;
		add_timer(&c->ms.timer);
	}
}

/*
 *	Makes the connection that the rule promises to a client. Returns NULL
 *	when there is no memory.
 */
static struct ip_portfw_conn *conn_new(const struct ip_portfw_rule *r,
				       __u32 client, __u16 port,
				       __u32 maddr, __u16 mport)
{
	struct ip_portfw_conn *c;
	struct ip_masq **chain;

	if (half_opens >= HALF_OPEN_MAX)
		conn_free(half_open);
	c = kmalloc(sizeof(*c), GFP_ATOMIC);
	if (c == NULL)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->ms.protocol = r->protocol;
	c->ms.saddr = r->raddr;
	c->ms.sport = r->rport;
	c->ms.daddr = client;
	c->ms.dport = port;
	c->ms.maddr = maddr;
	c->ms.mport = mport;
	chain = conn_chain(r->protocol, client, port);
	c->ms.m_link = *chain;
	*chain = &c->ms;
	conns++;

	c->half_pprev = half_open_end;
	*half_open_end = c;
	half_open_end = &c->half_next;
	half_opens++;

	init_timer(&c->ms.timer);
	c->ms.timer.data = (unsigned long) c;
	c->ms.timer.function = conn_timer;
	c->ms.timer.expires = c->expires = jiffies + HALF_OPEN_EXPIRE;
	add_timer(&c->ms.timer);
	return c;
}

/*
 *	The connection that a packet from the client to maddr:mport belongs
 *	to, or NULL.
 */
static __inline__ struct ip_portfw_conn *conn_in_get(int protocol,
						     __u32 client, __u16 port,
						     __u32 maddr, __u16 mport)
{
	struct ip_masq *ms;

	for (ms = *conn_chain(protocol, client, port); ms; ms = ms->m_link)
		if (ms->daddr == client && ms->dport == port &&
		    ms->maddr == maddr && ms->mport == mport &&
		    ms->protocol == protocol)
			break;
	return (struct ip_portfw_conn *) ms;
}

/*
 *	The connection that a packet from saddr:sport inside to the client
 *	belongs to, or NULL.
 */
static __inline__ struct ip_portfw_conn *conn_out_get(int protocol,
						      __u32 saddr, __u16 sport,
						      __u32 client, __u16 port)
{
	struct ip_masq *ms;

	for (ms = *conn_chain(protocol, client, port); ms; ms = ms->m_link)
		if (ms->daddr == client && ms->dport == port &&
		    ms->saddr == saddr && ms->sport == sport &&
		    ms->protocol == protocol)
			break;
	return (struct ip_portfw_conn *) ms;
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
 *	May a connection begin with this packet? A SYN begins one; so does the
 *	middle of one that was there before the gateway was started; never a
 *	packet that isn't sound.
 */
static int packet_begins(const struct sk_buff *skb, __u16 *ports)
{
	struct iphdr *iph = skb->h.iph;
	unsigned len = skb->len - iph->ihl * 4;

	if (iph->protocol == IPPROTO_TCP) {
		struct tcphdr *th = (struct tcphdr *) ports;

		if (th->rst || th->syn == th->ack)
			return 0;
		if (th->doff * 4 < sizeof(*th) || th->doff * 4 > len)
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
 *	Replaces an address and a port of the packet, and adjusts the transport
 *	checksum by the difference: what was wrong before stays wrong. The IP
 *	header was right, but has lost its checksum if it was reassembled.
 */
static __inline__ void packet_rewrite(struct iphdr *iph, __u16 *ports,
				      __u32 *addr, __u32 new_addr,
				      __u16 *port, __u16 new_port)
{
	__u32 change = check_change(*addr, new_addr);
	__u16 *check;

	change += (__u16) ~*port + new_port;
	if (iph->protocol == IPPROTO_TCP) {
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
	*addr = new_addr;
	*port = new_port;
	ip_send_check(iph);
}

/*
 *	Notes what the packet tells about its connection, and when to forget
 *	it. fin is the direction's SEEN_FIN bit.
 */
static __inline__ void conn_saw(struct ip_portfw_conn *c, __u16 *ports,
				unsigned fin)
{
	struct tcphdr *th = (struct tcphdr *) ports;
	unsigned long timeout;

	if (c->ms.protocol == IPPROTO_UDP) {
		if (fin == SEEN_FIN_OUT && c->half_pprev)
			half_open_over(c);
		timeout = ip_masq_expire->udp_timeout;
	} else {
		/* the ends repeat a reset that was meant */
		c->seen &= ~SEEN_RST;
		if (th->rst)
			c->seen |= SEEN_RST;
		else if (fin == SEEN_FIN_OUT)
			c->seen |= SEEN_ANSWER;
		else if (c->half_pprev && c->seen & SEEN_ANSWER && th->ack)
			half_open_over(c);
		if (th->fin)
			c->seen |= fin;
		if (c->seen & SEEN_RST)
			timeout = RST_EXPIRE;
		else if ((c->seen & SEEN_FIN) == SEEN_FIN)
			timeout = ip_masq_expire->tcp_fin_timeout;
		else
			timeout = ip_masq_expire->tcp_timeout;
	}
	if (c->half_pprev == NULL ||
	    (long) (c->expires - jiffies) > (long) timeout)
		conn_expire_in(c, timeout);
}

/*
 *	Has the connection come to its end?
 */
static __inline__ int conn_over(const struct ip_portfw_conn *c)
{
	return c->seen & SEEN_RST || (c->seen & SEEN_FIN) == SEEN_FIN;
}

int ip_portfw_do_in(struct sk_buff *skb)
{
	struct iphdr *iph = skb->h.iph;
	struct ip_portfw_conn *c;
	struct ip_portfw_rule *r;
	__u16 *ports = packet_ports(skb);

	if (ports == NULL)
		return 0;
	c = conn_in_get(iph->protocol, iph->saddr, ports[0],
			iph->daddr, ports[1]);
	/*
	 *	A SYN with the ports of a connection that is over begins a new
	 *	one, and the rule decides afresh.
	 */
	if (c && conn_over(c) && ((struct tcphdr *) ports)->syn &&
	    packet_begins(skb, ports)) {
		conn_free(c);
		c = NULL;
	}
	if (c == NULL) {
		r = rule_match(iph->protocol, iph->daddr, ports[1]);
		if (r == NULL || !packet_begins(skb, ports))
			return 0;
		/*
		 *	Two forwarded ports that lead to one port inside:
		 *	answers to the same client port could not be told
		 *	apart. The gateway answers for itself.
		 */
		if (conn_out_get(iph->protocol, r->raddr, r->rport,
				 iph->saddr, ports[0]))
			return 0;
		c = conn_new(r, iph->saddr, ports[0], iph->daddr, ports[1]);
		if (c == NULL)
			return -1;
	}
	conn_saw(c, ports, SEEN_FIN_IN);
	packet_rewrite(iph, ports, &iph->daddr, c->ms.saddr,
		       &ports[1], c->ms.sport);
	return 1;
}

int ip_portfw_do_out(struct sk_buff *skb)
{
	struct iphdr *iph = skb->h.iph;
	struct ip_portfw_conn *c;
	__u16 *ports = packet_ports(skb);

	if (ports == NULL)
		return 0;
	c = conn_out_get(iph->protocol, iph->saddr, ports[0],
			 iph->daddr, ports[1]);
	if (c == NULL)
		return 0;
	conn_saw(c, ports, SEEN_FIN_OUT);
	packet_rewrite(iph, ports, &iph->saddr, c->ms.maddr,
		       &ports[0], c->ms.mport);
	return 1;
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
	struct ip_masq *ms;
	char line[128];
	long left;
	unsigned i;

	for (i = 0; i < 1 << CONN_BITS && *len < length; i++) {
		start_bh_atomic();
		ms = ip_portfw_active ? conn_tab[i] : NULL;
		for (; ms && *len < length; ms = ms->m_link) {
			*pos += 128;
			if (*pos <= offset)
				continue;
			left = ((struct ip_portfw_conn *) ms)->expires -
				jiffies;
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
 *	Writes "a.b.c.d/port" and returns its length.
 */
static int sprint_host(char *buf, __u32 addr, __u16 port)
{
	unsigned char *a = (unsigned char *) &addr;

	return sprintf(buf, "%d.%d.%d.%d/%d", a[0], a[1], a[2], a[3],
		       ntohs(port));
}

/*
 *	/proc/net/ip_portfw. Rules change in process context only, and nothing
 *	here sleeps, so the list stands still. All lines have one length: the
 *	offset tells where to begin.
 */
static int rules_info(char *buffer, char **start, off_t offset, int length,
		      int unused)
{
	struct ip_portfw_rule *r = rules;
	off_t pos = 0;
	char line[IP_PORTFW_LINE];
	int len = 0, n;

	strcpy(line, IP_PORTFW_HEADING);
	for (;;) {
		if (pos + IP_PORTFW_LINE > offset)
			len += sprintf(buffer + len, "%-*s\n",
				       IP_PORTFW_LINE - 1, line);
		pos += IP_PORTFW_LINE;
		if (r == NULL || pos - offset >= length)
			break;
		n = sprintf(line, "%s ",
			    r->protocol == IPPROTO_TCP ? "TCP" : "UDP");
		n += sprint_host(line + n, r->laddr, r->lport);
		n += sprintf(line + n, " > ");
		sprint_host(line + n, r->raddr, r->rport);
		r = r->next;
	}
	/* the buffer's end is the file's pos; nothing if that is before offset */
	n = pos > offset ? len - (pos - offset) : len;
	*start = buffer + n;
	len -= n;
	return len > length ? length : len;
}

static struct proc_dir_entry rules_entry = {
	0, 9, "ip_portfw", S_IFREG | S_IRUGO, 1, 0, 0, 0,
	&proc_net_inode_operations, rules_info
};

#endif /* CONFIG_PROC_FS */

void ip_portfw_init(void)
{
#ifdef CONFIG_PROC_FS
	proc_register_dynamic(&proc_net, &rules_entry);
#endif
}
