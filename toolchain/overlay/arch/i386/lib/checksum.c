/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Internet checksums over memory of any length and alignment. The kernel's own
 * file is asm over several lines which names its inputs as clobbers.
 */
#include <linux/string.h>
#include <asm/segment.h>
#include <net/checksum.h>

unsigned int csum_partial(const unsigned char *buff, int len, unsigned int sum)
{
	for (; len >= 32; len -= 32, buff += 32)
		__asm__("addl (%1),%0; adcl 4(%1),%0; adcl 8(%1),%0\n\t"
			"adcl 12(%1),%0; adcl 16(%1),%0; adcl 20(%1),%0\n\t"
			"adcl 24(%1),%0; adcl 28(%1),%0; adcl $0,%0"
			: "+r" (sum)
			: "r" (buff), "m" (*(const char (*)[32]) buff));
	for (; len >= 4; len -= 4, buff += 4)
		sum = csum_add(sum, *(const unsigned int *) buff);
	if (len & 2) {
		sum = csum_add(sum, *(const unsigned short *) buff);
		buff += 2;
	}
	if (len & 1)
		sum = csum_add(sum, *buff);
	return sum;
}

unsigned int csum_partial_copy(const char *src, char *dst, int len, int sum)
{
	memcpy(dst, src, len);
	return csum_partial((unsigned char *) dst, len, sum);
}

unsigned int csum_partial_copy_fromuser(const char *src, char *dst, int len, int sum)
{
	memcpy_fromfs(dst, src, len);
	return csum_partial((unsigned char *) dst, len, sum);
}

/* The compiler calls these on its own, and <asm/string.h> has only macros. */
#undef memcpy
#undef memset

void *memcpy(void *to, const void *from, size_t n)
{
	return __memcpy(to, from, n);
}

void *memset(void *to, int byte, size_t n)
{
	return __memset(to, byte, n);
}
