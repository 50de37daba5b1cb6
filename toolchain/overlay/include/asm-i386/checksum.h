/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Internet checksums: sums of 16-bit words whose carry comes in again at the
 * bottom. Partial sums are kept in 32 bits. The kernel's own file has strings
 * over several lines and asm that does not say that it reads memory.
 */
#ifndef _I386_CHECKSUM_H
#define _I386_CHECKSUM_H

/* In arch/i386/lib/checksum.c. */
unsigned int csum_partial(const unsigned char *buff, int len, unsigned int sum);
unsigned int csum_partial_copy(const char *src, char *dst, int len, int sum);
unsigned int csum_partial_copy_fromuser(const char *src, char *dst, int len, int sum);

INLINE unsigned int csum_add(unsigned int a, unsigned int b)
{
	__asm__("addl %1,%0; adcl $0,%0" : "+r" (a) : "g" (b));
	return a;
}

INLINE unsigned int csum_fold(unsigned int sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	return ~sum & 0xffff;
}

/* An IP header: ihl words of 32 bits, 5 or more. */
INLINE unsigned short ip_fast_csum(unsigned char *iph, unsigned int ihl)
{
	const unsigned int *p = (const unsigned int *) iph;
	unsigned int sum = *p++;

	while (--ihl)
		sum = csum_add(sum, *p++);
	return csum_fold(sum);
}

/* With the pseudo header of TCP and UDP; the addresses are in network order. */
INLINE unsigned short csum_tcpudp_magic(unsigned long saddr,
	unsigned long daddr, unsigned short len, unsigned short proto,
	unsigned int sum)
{
	sum = csum_add(sum, saddr);
	sum = csum_add(sum, daddr);
	return csum_fold(csum_add(sum,
		((unsigned int) __builtin_bswap16(len) << 16) + (proto << 8)));
}

INLINE unsigned short ip_compute_csum(unsigned char *buff, int len)
{
	return csum_fold(csum_partial(buff, len, 0));
}

#endif
