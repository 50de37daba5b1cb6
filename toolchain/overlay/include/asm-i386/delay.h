/* SPDX-License-Identifier: GPL-2.0-only */
/* Waiting by counting. The kernel's own asm names its inputs as clobbers. */
#ifndef _I386_DELAY_H
#define _I386_DELAY_H

extern void __do_delay(void);	/* some releases export it to modules */

INLINE void __delay(int loops)
{
	__asm__ __volatile__("1: decl %0; jns 1b" : "+r" (loops));
}

/* loops_per_sec * usecs / 1000000; 4294 is 2^32 / 1000000. */
INLINE void udelay(unsigned long usecs)
{
	__delay((unsigned long long) (usecs * 4294) * loops_per_sec >> 32);
}

INLINE unsigned long muldiv(unsigned long a, unsigned long b, unsigned long c)
{
	unsigned long high;

	__asm__("mull %3; divl %4"
		: "=&a" (a), "=&d" (high) : "0" (a), "rm" (b), "rm" (c));
	return a;
}

#endif
