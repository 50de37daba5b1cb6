/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	That kernel. It is strict: whoever sleeps where he must not, frees what
 *	he hasn't got or begins a timer twice is stopped. Where the real one may
 *	be interrupted or put to sleep, others run here as the harness wants it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sanitizer/asan_interface.h>
#include <linux/ip_portfw.h>
#include "fuzz.h"

unsigned long volatile jiffies;
unsigned long intr_count;
unsigned long high_memory;
struct world world;

void wrong(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: it must be that %s\n", file, line, what);
	abort();
}

/*
 *	Time
 */

static struct timer_list timers = { &timers, &timers };

void init_timer(struct timer_list *timer)
{
	timer->next = timer->prev = NULL;
}

void add_timer(struct timer_list *timer)
{
	struct timer_list *after;

	must(timer->prev == NULL && timer->next == NULL);
	must(timer->function != NULL);
	/* or it would run for ever */
	must(!world.in_timer || (long) (timer->expires - jiffies) > 0);
	for (after = timers.prev; after != &timers; after = after->prev)
		if ((long) (after->expires - timer->expires) <= 0)
			break;
	timer->prev = after;
	timer->next = after->next;
	timer->next->prev = timer->prev->next = timer;
	world.timers++;
}

int del_timer(struct timer_list *timer)
{
	if (timer->prev == NULL)
		return 0;
	timer->next->prev = timer->prev;
	timer->prev->next = timer->next;
	timer->next = timer->prev = NULL;
	world.timers--;
	return 1;
}

int timer_pending(const struct timer_list *timer)
{
	return timer->prev != NULL;
}

/*
 *	The clock goes on for so many ticks, and what is due in them is done.
 */
void pass(unsigned long ticks)
{
	unsigned long end = jiffies + ticks;
	struct timer_list *t;

	enter_bh();
	while (t = timers.next,
	       t != &timers && (long) (t->expires - end) <= 0) {
		if ((long) (t->expires - jiffies) > 0)
			jiffies = t->expires;
		del_timer(t);
		world.in_timer = 1;
		t->function(t->data);
		world.in_timer = 0;
	}
	leave_bh();
	jiffies = end;
}

/*
 *	Who may run when
 */

void enter_bh(void)
{
	must(intr_count == 0);
	world.bh++;
}

void leave_bh(void)
{
	must(intr_count == 0);
	world.bh--;
}

void start_bh_atomic(void)
{
	if (!world.bh && !intr_count)
		bottom_halves();
	intr_count++;
}

void end_bh_atomic(void)
{
	must(intr_count > 0);
	intr_count--;
	if (!world.bh && !intr_count)
		bottom_halves();
}

static void may_sleep(void)
{
	must(!world.bh && !intr_count);
	others();
}

/* Somebody else always waits. */
int need_resched = 1;

void schedule(void)
{
	may_sleep();
}

int suser(void)
{
	must(!world.bh);
	return world.root;
}

/*
 *	Memory. What is before a block is as forbidden as what is behind it.
 */

struct block {
	size_t size;
	unsigned long address;
};

static int no_memory(int priority)
{
	if (priority != GFP_ATOMIC)
		may_sleep();
	if (!world.fail || --world.fail)
		return 0;
	world.failures++;
	return 1;
}

void *kmalloc(size_t size, int priority)
{
	struct block *b;

	if (no_memory(priority))
		return NULL;
	b = malloc(sizeof(*b) + size);
	b->size = size;
	b->address = (unsigned long) (b + 1);
	memset(b + 1, 0x5a, size);
	world.blocks++;
	world.bytes += size;
	ASAN_POISON_MEMORY_REGION(b, sizeof(*b));
	return b + 1;
}

void kfree(void *p)
{
	struct block *b = (struct block *) p - 1;

	if (p == NULL)
		return;
	ASAN_UNPOISON_MEMORY_REGION(b, sizeof(*b));
	must(b->address == (unsigned long) p);
	world.blocks--;
	world.bytes -= b->size;
	free(b);
}

void kfree_s(void *p, int size)
{
	struct block *b = (struct block *) p - 1;

	ASAN_UNPOISON_MEMORY_REGION(b, sizeof(*b));
	must(b->size == (size_t) size);
	kfree(p);
}

unsigned long __get_free_pages(int priority, unsigned long order, int dma)
{
	void *page;

	if (no_memory(priority) ||
	    posix_memalign(&page, REAL_PAGE_SIZE, REAL_PAGE_SIZE << order))
		return 0;
	memset(page, 0x5a, REAL_PAGE_SIZE << order);
	world.pages += 1 << order;
	return (unsigned long) page;
}

unsigned long get_free_page(int priority)
{
	unsigned long page = __get_free_page(priority);

	if (page)
		memset((void *) page, 0, REAL_PAGE_SIZE);
	return page;
}

void free_pages(unsigned long page, unsigned long order)
{
	if (!page)
		return;
	world.pages -= 1 << order;
	free((void *) page);
}

/*
 *	User space
 */

int verify_area(int type, const void *user, unsigned long size)
{
	must(!world.bh);
	return world.bad_pointer ? -EFAULT : 0;
}

void memcpy_fromfs(void *to, const void *user, unsigned long size)
{
	may_sleep();
	memcpy(to, user, size);
}

void memcpy_tofs(void *user, const void *from, unsigned long size)
{
	may_sleep();
	memcpy(user, from, size);
}

/*
 *	Odds and ends
 */

int printk(const char *format, ...)
{
	va_list args;
	char line[1024];
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	must(n < (int) sizeof(line));
	world.lines++;
	return n;
}

void get_random_bytes(void *to, int size)
{
	unsigned char *p = to;

	while (size--) {
		world.random = world.random * 1103515245 + 12345;
		*p++ = world.random >> 16;
	}
}

unsigned long simple_strtoul(const char *s, char **end, unsigned base)
{
	return strtoul(s, end, base);
}

/*
 *	Files
 */

struct proc_dir_entry proc_net;
struct inode_operations proc_net_inode_operations;

int proc_register_dynamic(struct proc_dir_entry *dir,
			  struct proc_dir_entry *entry)
{
	must(dir == &proc_net && entry->namelen == strlen(entry->name));
	entry->next = dir->subdir;
	dir->subdir = entry;
	return 0;
}

/*
 *	The files of /proc/net as a program has them.
 */
static struct file_operations *proc_file(const char *name, struct inode *inode)
{
	struct proc_dir_entry *entry = proc_net.subdir;

	while (entry && strcmp(entry->name, name))
		entry = entry->next;
	must(entry != NULL);
	inode->u.generic_ip = entry;
	return entry->ops->default_file_ops;
}

int proc_open(const char *name, struct file *file)
{
	struct inode inode;
	struct file_operations *ops = proc_file(name, &inode);

	memset(file, 0, sizeof(*file));
	return ops->open ? ops->open(&inode, file) : 0;
}

int proc_read(const char *name, struct file *file, char *user, int count)
{
	struct inode inode;

	return proc_file(name, &inode)->read(&inode, file, user, count);
}

int proc_write(const char *name, struct file *file, const char *user, int count)
{
	struct inode inode;

	return proc_file(name, &inode)->write(&inode, file, user, count);
}

void proc_close(const char *name, struct file *file)
{
	struct inode inode;
	struct file_operations *ops = proc_file(name, &inode);

	if (ops->release)
		ops->release(&inode, file);
}

/*
 *	Checksums
 */

unsigned csum_partial(const unsigned char *p, int len, unsigned sum)
{
	unsigned long long s = sum;
	int i;

	must(len >= 0);
	for (i = 0; i < len; i++)
		s += i & 1 ? p[i] << 8 : p[i];
	while (s >> 32)
		s = (s & 0xffffffff) + (s >> 32);
	return s;
}

unsigned short csum_fold(unsigned sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

unsigned short csum_tcpudp_magic(unsigned long saddr, unsigned long daddr,
				 unsigned short len, unsigned short protocol,
				 unsigned sum)
{
	unsigned char pseudo[12];

	memcpy(pseudo, &saddr, 4);
	memcpy(pseudo + 4, &daddr, 4);
	pseudo[8] = 0;
	pseudo[9] = protocol;
	pseudo[10] = len >> 8;
	pseudo[11] = len;
	return csum_fold(csum_partial(pseudo, 12, sum));
}

unsigned short ip_compute_csum(unsigned char *p, int len)
{
	return csum_fold(csum_partial(p, len, 0));
}

unsigned short ip_fast_csum(unsigned char *p, unsigned ihl)
{
	return ip_compute_csum(p, ihl * 4);
}

void ip_send_check(struct iphdr *iph)
{
	iph->check = 0;
	iph->check = ip_fast_csum((unsigned char *) iph, iph->ihl);
}

/*
 *	Devices and routes
 */

struct device *dev_base;

int ip_chk_addr(unsigned long addr)
{
	struct device *dev;

	if (addr == 0 || addr == 0xffffffff)
		return IS_BROADCAST;
	if (LOOPBACK(addr))
		return IS_MYADDR;
	for (dev = dev_base; dev; dev = dev->next) {
		if (!(dev->flags & IFF_UP) || dev->family != AF_INET)
			continue;
		if (dev->pa_addr == 0 || dev->pa_addr == addr)
			return IS_MYADDR;
		if ((dev->flags & IFF_BROADCAST && addr == dev->pa_brdaddr) ||
		    (!((addr ^ dev->pa_addr) & dev->pa_mask) &&
		     (!(addr & ~dev->pa_mask) || !(~addr & ~dev->pa_mask))))
			return IS_BROADCAST;
	}
	return MULTICAST(addr) ? IS_MULTICAST : 0;
}

static struct device *route_dev(__u32 daddr)
{
	struct device *dev, *last = NULL;

	for (dev = dev_base; dev; dev = dev->next) {
		if (!(dev->flags & IFF_UP))
			continue;
		if (!((daddr ^ dev->pa_addr) & dev->pa_mask))
			return dev->pa_addr == daddr ? dev_base : dev;
		last = dev;
	}
	return last;
}

/* Who takes a route gives it back. */
struct rtable *ip_rt_route(__u32 daddr, int local, struct device *bound)
{
	struct device *dev = route_dev(daddr);
	struct rtable *rt;

	if (dev == NULL || world.unreachable || (bound && bound != dev))
		return NULL;
	rt = malloc(sizeof(*rt));
	rt->rt_dev = dev;
	rt->rt_src = dev == dev_base ? daddr : dev->pa_addr;
	rt->rt_gateway = daddr;
	rt->rt_flags = dev == dev_base ? RTF_LOCAL : 0;
	rt->rt_mtu = dev->mtu;
	world.routes++;
	return rt;
}

void ip_rt_put(struct rtable *rt)
{
	if (rt) {
		world.routes--;
		free(rt);
	}
}

struct device *ip_rt_dev(__u32 addr)
{
	struct rtable *rt = ip_rt_route(addr, 0, NULL);
	struct device *dev = rt ? rt->rt_dev : NULL;

	ip_rt_put(rt);
	return dev;
}

/*
 *	Packets. Each ends where its memory ends, or where what may be put
 *	behind it begins.
 */

struct sk_buff *packet(const void *data, unsigned len, unsigned size,
		       unsigned room)
{
	struct sk_buff *skb = calloc(1, sizeof(*skb));

	must(size >= len);
	skb->head = skb->data = malloc(size + room);
	memcpy(skb->data, data, size);
	skb->tail = skb->data + len;
	skb->end = skb->data + size + room;
	ASAN_POISON_MEMORY_REGION(skb->data + size, room);
	skb->len = len;
	skb->h.raw = skb->data;
	skb->ip_hdr = skb->h.iph;
	world.packets++;
	return skb;
}

void kfree_skb(struct sk_buff *skb, int how)
{
	if (skb->data_skb == NULL)
		free(skb->head);
	free(skb);
	world.packets--;
}

/*
 *	Another look at the same memory, as the gateway's own packets are that
 *	may have to be sent again.
 */
struct sk_buff *clone(struct sk_buff *skb)
{
	struct sk_buff *c = malloc(sizeof(*c));

	*c = *skb;
	c->data_skb = skb;
	world.packets++;
	return c;
}

/* Who has asked may write there, even before he says how much it is. */
int skb_tailroom(struct sk_buff *skb)
{
	ASAN_UNPOISON_MEMORY_REGION(skb->tail, skb->end - skb->tail);
	return skb->end - skb->tail;
}

unsigned char *skb_put(struct sk_buff *skb, int len)
{
	unsigned char *tail = skb->tail;

	must(len >= 0 && len <= skb_tailroom(skb));
	skb->tail += len;
	skb->len += len;
	return tail;
}

unsigned char *skb_pull(struct sk_buff *skb, int len)
{
	must(len >= 0 && len <= (int) skb->len);
	skb->data += len;
	skb->len -= len;
	return skb->data;
}

void skb_trim(struct sk_buff *skb, int len)
{
	if ((int) skb->len > len) {
		skb->len = len;
		skb->tail = skb->data + len;
	}
}

struct sk_buff *skb_copy(struct sk_buff *skb, int priority)
{
	struct sk_buff *copy;

	if (no_memory(priority))
		return NULL;
	copy = packet(skb->data, skb->len, skb->len, 0);
	copy->dev = skb->dev;
	copy->pkt_type = skb->pkt_type;
	copy->ip_summed = skb->ip_summed;
	return copy;
}

/*
 *	Without memory the packet stays as it is, but for its length, which is
 *	wrong then: so it is in the real one.
 */
struct sk_buff *ip_masq_skb_replace(struct sk_buff *skb, int priority,
				    char *old, int old_len,
				    char *new, int new_len)
{
	unsigned before = (unsigned char *) old - skb->data;
	unsigned len = skb->len - old_len + new_len;
	struct sk_buff *bigger;
	struct iphdr *iph;
	unsigned char *data;

	must(old_len >= 0 && new_len >= 0);
	must((unsigned char *) old >= skb->data &&
	     before + old_len <= skb->len);
	if (no_memory(priority))
		bigger = skb;
	else {
		data = malloc(len);
		memcpy(data, skb->data, before);
		memcpy(data + before, new, new_len);
		memcpy(data + before + new_len, old + old_len,
		       skb->len - before - old_len);
		bigger = packet(data, len, len, 0);
		free(data);
		bigger->dev = skb->dev;
		bigger->pkt_type = skb->pkt_type;
		bigger->ip_summed = skb->ip_summed;
		kfree_skb(skb, FREE_WRITE);
	}
	if (new_len != old_len) {
		iph = bigger->h.iph;
		/* in this order, so that the checksum is wrong for now */
		ip_send_check(iph);
		iph->tot_len = htons(len);
	}
	return bigger;
}

/*
 *	Sockets, and what the gateway says for itself
 */

/*
 *	A socket that listens is found where none is connected.
 */
static struct sock *lookup(const struct sock *sk, __u32 saddr, __u16 sport,
			   __u32 daddr, __u16 dport)
{
	must(world.bh || intr_count);
	return sk->state && sk->rcv_saddr == daddr &&
		sk->dummy_th.source == dport &&
		(sk->daddr == 0 || (sk->daddr == saddr &&
				    sk->dummy_th.dest == sport)) ?
		(struct sock *) sk : NULL;
}

struct sock *tcp_v4_lookup(__u32 saddr, __u16 sport, __u32 daddr, __u16 dport,
			   struct device *dev)
{
	return lookup(&world.tcp_socket, saddr, sport, daddr, dport);
}

struct sock *udp_v4_lookup(__u32 saddr, __u16 sport, __u32 daddr, __u16 dport,
			   struct device *dev)
{
	return lookup(&world.udp_socket, saddr, sport, daddr, dport);
}

struct proto { int dummy; } tcp_prot;

void tcp_send_reset(unsigned long saddr, unsigned long daddr,
		    struct tcphdr *th, struct proto *prot, void *opt,
		    struct device *dev, int tos, int ttl)
{
	must(prot == &tcp_prot && dev != NULL);
	must(th->doff >= 5);
}

void tcp_send_check(struct tcphdr *th, unsigned long saddr,
		    unsigned long daddr, int len, struct sk_buff *skb)
{
	th->check = 0;
	th->check = csum_tcpudp_magic(saddr, daddr, len, IPPROTO_TCP,
				      csum_partial((unsigned char *) th,
						   sizeof(*th), skb->csum));
}

void icmp_send(struct sk_buff *skb, int type, int code, unsigned long info,
	       struct device *dev, int hdrincl)
{
	ip_portfw_icmp_send_or_return(skb, type, code);
	must(dev != NULL);
}

/*
 *	Masquerading
 */

static struct ip_fw_masq expire;
struct ip_fw_masq *ip_masq_expire = &expire;

struct ip_masq *ip_masq_out_get_2(int protocol, __u32 saddr, __u16 sport,
				  __u32 daddr, __u16 dport)
{
	struct ip_masq *ms;

	for (ms = world.stock; ms < world.stock + STOCK; ms++)
		if (ms->protocol == protocol &&
		    ms->saddr == saddr && ms->sport == sport &&
		    ms->daddr == daddr && ms->dport == dport)
			return ms;
	return NULL;
}

struct ip_masq *ip_masq_in_get_2(int protocol, __u32 saddr, __u16 sport,
				 __u32 daddr, __u16 dport)
{
	struct ip_masq *ms;

	for (ms = world.stock; ms < world.stock + STOCK; ms++)
		if (ms->protocol == protocol &&
		    ms->maddr == daddr && ms->mport == dport &&
		    ms->daddr == saddr && ms->dport == sport)
			return ms;
	return NULL;
}

/*
 *	Sequence numbers from the last change of a length on go by the new
 *	difference, those before it by the one before.
 */
static __u32 shift(const struct ip_masq *ms, const struct ip_masq_seq *s,
		   unsigned flag, __u32 seq)
{
	if (!(ms->flags & flag))
		return 0;
	return (__s32) (seq - s->init_seq) > 0 ? s->delta : s->previous_delta;
}

static int help(struct ip_masq *ms, struct sk_buff **skb_p, struct device *dev,
		struct ip_masq_seq *there, unsigned flag,
		struct ip_masq_seq *back, unsigned back_flag,
		int (*hook)(struct ip_masq_app *, struct ip_masq *,
			    struct sk_buff **, struct device *))
{
	unsigned char *p = (*skb_p)->h.raw;
	struct tcphdr *th = (struct tcphdr *) (p + (p[0] & 15) * 4);
	__u32 seq = ntohl(th->seq), ack = ntohl(th->ack_seq);
	int diff;

	th->seq = htonl(seq + shift(ms, there, flag, seq));
	th->ack_seq = htonl(ack - shift(ms, back, back_flag, ack));
	diff = hook ? hook(ms->app, ms, skb_p, dev) : 0;
	if (diff && (!(ms->flags & flag) ||
		     (__s32) (seq - there->init_seq) > 0)) {
		ms->flags |= flag;
		there->previous_delta = there->delta;
		there->delta += diff;
		there->init_seq = seq;
	}
	return diff;
}

int ip_masq_app_pkt_out(struct ip_masq *ms, struct sk_buff **skb_p,
			struct device *dev)
{
	return ms->app ? help(ms, skb_p, dev, &ms->out_seq, IP_MASQ_F_OUT_SEQ,
			      &ms->in_seq, IP_MASQ_F_IN_SEQ,
			      ms->app->pkt_out) : 0;
}

int ip_masq_app_pkt_in(struct ip_masq *ms, struct sk_buff **skb_p,
		       struct device *dev)
{
	return ms->app ? help(ms, skb_p, dev, &ms->in_seq, IP_MASQ_F_IN_SEQ,
			      &ms->out_seq, IP_MASQ_F_OUT_SEQ,
			      ms->app->pkt_in) : 0;
}

struct ip_masq_app *ip_masq_app_get(unsigned short protocol, __u16 port)
{
	static struct ip_masq_app ftp = { NULL, "ftp" }, other = { NULL, "irc" };

	if (protocol != IPPROTO_TCP || !world.helpers)
		return NULL;
	return port == htons(21) || port == htons(2121) ? &ftp :
		port == htons(6667) ? &other : NULL;
}
