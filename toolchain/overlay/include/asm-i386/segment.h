/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Access to the segments of user space through %fs. The kernel's own file has
 * strings over several lines, and asm that names its inputs as clobbers or
 * does not say that it writes to memory.
 */
#ifndef _ASM_SEGMENT_H
#define _ASM_SEGMENT_H

#define KERNEL_CS	0x10
#define KERNEL_DS	0x18
#define USER_CS		0x23
#define USER_DS		0x2B

#ifndef __ASSEMBLY__

extern int bad_user_access_length(void);	/* nowhere: fails to link */

INLINE void __put_user(unsigned long x, void *to, int size)
{
	switch (size) {
	case 1:
		__asm__ __volatile__("movb %b0,%%fs:(%1)"
			: : "q" (x), "r" (to) : "memory");
		break;
	case 2:
		__asm__ __volatile__("movw %w0,%%fs:(%1)"
			: : "r" (x), "r" (to) : "memory");
		break;
	case 4:
		__asm__ __volatile__("movl %0,%%fs:(%1)"
			: : "r" (x), "r" (to) : "memory");
		break;
	default:
		bad_user_access_length();
	}
}

INLINE unsigned long __get_user(const void *from, int size)
{
	unsigned long x;

	switch (size) {
	case 1:
		__asm__ __volatile__("movzbl %%fs:(%1),%0"
			: "=r" (x) : "r" (from) : "memory");
		return x;
	case 2:
		__asm__ __volatile__("movzwl %%fs:(%1),%0"
			: "=r" (x) : "r" (from) : "memory");
		return x;
	case 4:
		__asm__ __volatile__("movl %%fs:(%1),%0"
			: "=r" (x) : "r" (from) : "memory");
		return x;
	default:
		return bad_user_access_length();
	}
}

#define put_user(x, to) \
	__put_user((unsigned long) (x), (to), sizeof(*(to)))
#define get_user(from) \
	((__typeof__(*(from))) __get_user((from), sizeof(*(from))))

#define get_fs_byte(from)	__get_user((const unsigned char *) (from), 1)
#define get_fs_word(from)	__get_user((const unsigned short *) (from), 2)
#define get_fs_long(from)	__get_user((const unsigned int *) (from), 4)
#define put_fs_byte(x, to)	__put_user((x), (unsigned char *) (to), 1)
#define put_fs_word(x, to)	__put_user((x), (unsigned short *) (to), 2)
#define put_fs_long(x, to)	__put_user((x), (unsigned int *) (to), 4)

INLINE void memcpy_tofs(void *to, const void *from, unsigned long n)
{
	int c, d, s;

	__asm__ __volatile__(
		"cld; pushl %%es; pushl %%fs; popl %%es\n\t"
		"rep; movsl; movl %6,%%ecx; rep; movsb\n\t"
		"popl %%es"
		: "=&c" (c), "=&D" (d), "=&S" (s)
		: "0" (n / 4), "1" (to), "2" (from), "r" (n & 3)
		: "memory");
}

INLINE void memcpy_fromfs(void *to, const void *from, unsigned long n)
{
	int c, d, s;

	__asm__ __volatile__(
		"cld; rep; movsl %%fs:(%%esi),%%es:(%%edi)\n\t"
		"movl %6,%%ecx; rep; movsb %%fs:(%%esi),%%es:(%%edi)"
		: "=&c" (c), "=&D" (d), "=&S" (s)
		: "0" (n / 4), "1" (to), "2" (from), "r" (n & 3)
		: "memory");
}

INLINE unsigned long get_fs(void)
{
	unsigned long x = 0;

	__asm__ __volatile__("movw %%fs,%w0" : "+r" (x));
	return x;
}

INLINE unsigned long get_ds(void)
{
	unsigned long x = 0;

	__asm__ __volatile__("movw %%ds,%w0" : "+r" (x));
	return x;
}

INLINE void set_fs(unsigned long x)
{
	__asm__ __volatile__("movw %w0,%%fs" : : "r" (x) : "memory");
}

#endif /* __ASSEMBLY__ */
#endif
