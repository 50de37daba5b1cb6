/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's own <asm/string.h> is all asm that names its inputs as clobbers.
 * Here: the two that matter for speed, and two that lib/string.c has not or has
 * otherwise. The others are there.
 */
#ifndef _I386_STRING_H_
#define _I386_STRING_H_

INLINE void *__memcpy(void *to, const void *from, size_t n)
{
	int c, d, s;

	__asm__ __volatile__("cld; rep; movsl; movl %6,%%ecx; rep; movsb"
		: "=&c" (c), "=&D" (d), "=&S" (s)
		: "0" (n / 4), "1" (to), "2" (from), "g" (n & 3)
		: "memory");
	return to;
}

INLINE void *__memset(void *to, int byte, size_t n)
{
	int c, d;

	__asm__ __volatile__("cld; rep; stosl; movl %5,%%ecx; rep; stosb"
		: "=&c" (c), "=&D" (d)
		: "0" (n / 4), "1" (to), "a" ((byte & 0xff) * 0x01010101), "g" (n & 3)
		: "memory");
	return to;
}

/* Small and known sizes become plain moves. */
#define __HAVE_ARCH_MEMCPY
#define memcpy(to, from, n) \
	(__builtin_constant_p(n) && (n) <= 32 ? \
	 __builtin_memcpy((to), (from), (n)) : __memcpy((to), (from), (n)))
#define __HAVE_ARCH_MEMSET
#define memset(to, byte, n) \
	(__builtin_constant_p(n) && (n) <= 32 ? \
	 __builtin_memset((to), (byte), (n)) : __memset((to), (byte), (n)))

/* Fills up with zeros, as the kernel's asm does and lib/string.c does not. */
#define __HAVE_ARCH_STRNCPY
INLINE char *strncpy(char *to, const char *from, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if ((to[i] = *from))
			from++;
	return to;
}

INLINE void *memchr(const void *from, int byte, size_t n)
{
	const unsigned char *p = from;

	for (; n; n--, p++)
		if (*p == (unsigned char) byte)
			return (void *) p;
	return NULL;
}

/* The kernel has it, but lets no module use it. */
#ifdef MODULE
INLINE size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}
#endif

#endif
