/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bits in memory, atomic on one processor: a single instruction. The kernel's
 * own file does not tell the compiler which memory is read and written.
 */
#ifndef _I386_BITOPS_H
#define _I386_BITOPS_H

/* Each returns whether the bit was set before. */
#define __BIT_OP(name, instruction) \
INLINE int name(int nr, void *addr) \
{ \
	int old; \
\
	__asm__ __volatile__(instruction " %2,(%1); sbbl %0,%0" \
		: "=&r" (old) : "r" (addr), "Ir" (nr) : "memory"); \
	return old; \
}
__BIT_OP(set_bit, "btsl")
__BIT_OP(clear_bit, "btrl")
__BIT_OP(change_bit, "btcl")
#undef __BIT_OP

INLINE int test_bit(int nr, const void *addr)
{
	return ((const volatile unsigned int *) addr)[nr >> 5] >> (nr & 31) & 1;
}

/* The number of the lowest zero bit; there must be one. */
INLINE unsigned long ffz(unsigned long word)
{
	__asm__("bsfl %1,%0" : "=r" (word) : "r" (~word));
	return word;
}

/* Each returns size or more if there is no zero bit. */
INLINE int find_next_zero_bit(void *addr, int size, int offset)
{
	const unsigned long *p = addr;

	while (offset < size) {
		unsigned long word = p[offset >> 5] | ((1UL << (offset & 31)) - 1);

		offset &= ~31;
		if (~word)
			return offset + ffz(word);
		offset += 32;
	}
	return size;
}

INLINE int find_first_zero_bit(void *addr, unsigned size)
{
	return find_next_zero_bit(addr, size, 0);
}

#endif
