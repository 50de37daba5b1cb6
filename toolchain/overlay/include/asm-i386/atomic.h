/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters, atomic on one processor: a single instruction. The kernel's own
 * file keeps them in the right place by a trick that the compiler may see
 * through.
 */
#ifndef __ARCH_I386_ATOMIC__
#define __ARCH_I386_ATOMIC__

typedef int atomic_t;

INLINE void atomic_add(atomic_t i, atomic_t *v)
{
	__asm__ __volatile__("addl %1,%0" : "+m" (*v) : "ir" (i) : "memory");
}

INLINE void atomic_sub(atomic_t i, atomic_t *v)
{
	__asm__ __volatile__("subl %1,%0" : "+m" (*v) : "ir" (i) : "memory");
}

INLINE void atomic_inc(atomic_t *v)
{
	__asm__ __volatile__("incl %0" : "+m" (*v) : : "memory");
}

INLINE void atomic_dec(atomic_t *v)
{
	__asm__ __volatile__("decl %0" : "+m" (*v) : : "memory");
}

INLINE int atomic_dec_and_test(atomic_t *v)
{
	unsigned char zero;

	__asm__ __volatile__("decl %0; sete %1"
		: "+m" (*v), "=qm" (zero) : : "memory");
	return zero;
}

#endif
