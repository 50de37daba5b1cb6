/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	Between the kernel of ours, the code inside it and the harness.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "kernel.h"

#define STOCK	4

/*
 *	The state of the kernel that is none of our code's business.
 */
struct world {
	int bh, in_timer;		/* a bottom half, one for a timer    */
	int root, bad_pointer;		/* what user space is like	     */
	int helpers, helped;		/* there is one for FTP, or was	     */
	int unreachable;		/* routes lead nowhere		     */
	unsigned fail;			/* the allocation that will, counted */
	unsigned random;
	/* how many there are */
	unsigned blocks, bytes, pages, timers, routes, packets;
	unsigned failures, lines;	/* failed allocations, printk()s     */
	struct ip_masq stock[STOCK];	/* masquerading's own		     */
	struct sock tcp_socket, udp_socket; /* the gateway's own connections */
};
extern struct world world;

/* kernel.c */
void pass(unsigned long ticks);
void enter_bh(void);
void leave_bh(void);
int timer_pending(const struct timer_list *);
struct sk_buff *packet(const void *data, unsigned len, unsigned size,
		       unsigned room);
struct sk_buff *clone(struct sk_buff *);
int proc_open(const char *name, struct file *);
int proc_read(const char *name, struct file *, char *user, int count);
int proc_write(const char *name, struct file *, const char *user, int count);
void proc_close(const char *name, struct file *);

/* inside.c */
struct inside {
	unsigned conns, half_open, conns_max, half_open_max;
};
struct inside audit(void);
unsigned connections(void);

/* fuzz.c: where others may run */
void bottom_halves(void);
void others(void);

#endif
