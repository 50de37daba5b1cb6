/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included before every C file of the kernel: macros that replace old ones
 * which today's compiler refuses or, worse, takes otherwise than meant.
 */
/* For our own headers, of which the kernel's inline functions make use. */
#define INLINE extern __inline__ __attribute__((always_inline))

#include <linux/posix_types.h>
#include <asm/bitops.h>
#include <asm/io.h>
#include <asm/system.h>

/* A system call's saved registers, which begin with its first argument. */
#define SAVED_REGS(arg) ({ \
	struct pt_regs *__regs = (struct pt_regs *) &(arg); \
	__asm__ __volatile__("" : "+r" (__regs) : : "memory"); \
	__regs; })

/* They said that all of the set is written. */
#undef __FD_SET
#define __FD_SET(fd, set) ((void) set_bit((fd), (set)))
#undef __FD_CLR
#define __FD_CLR(fd, set) ((void) clear_bit((fd), (set)))
#undef __FD_ISSET
#define __FD_ISSET(fd, set) test_bit((fd), (set))
#undef __FD_ZERO
#define __FD_ZERO(set) ((void) __builtin_memset((set), 0, sizeof(*(set))))

/* Used without its result it would be optimized away: it was not volatile. */
#undef xchg
#define xchg(ptr, x) ({ \
	__typeof__(*(ptr)) __x = (__typeof__(*(ptr))) (x); \
	__asm__ __volatile__("xchg %0,%1" \
		: "+q" (__x), "+m" (*(ptr)) : : "memory"); \
	__x; })

/* Other tasks change memory. */
#undef switch_to
#define switch_to(prev, next) do { \
	__asm__ __volatile__( \
		"movl %2,current_set; ljmp *%0\n\t" \
		"cmpl %1,last_task_used_math; jne 1f; clts; 1:" \
		: : "m" (*((char *) &(next)->tss.tr - 4)), \
		    "r" (prev), "r" (next) : "memory"); \
	if ((prev)->debugreg[7]) { \
		loaddebug(prev, 0); \
		loaddebug(prev, 1); \
		loaddebug(prev, 2); \
		loaddebug(prev, 3); \
		loaddebug(prev, 6); \
	} \
} while (0)

/* These named their inputs as clobbers, or did not say that they write. */
#undef _set_gate
#define _set_gate(gate, type, dpl, addr) do { \
	volatile unsigned long *__gate = (unsigned long *) (gate); \
	unsigned long __addr = (unsigned long) (addr); \
	__gate[0] = KERNEL_CS << 16 | (__addr & 0xffff); \
	__gate[1] = (__addr & 0xffff0000) | 0x8000 | (dpl) << 13 | (type) << 8; \
} while (0)

#undef _set_base
#define _set_base(desc, base) do { \
	volatile unsigned char *__desc = (unsigned char *) (desc); \
	unsigned long __base = (unsigned long) (base); \
	*(volatile unsigned short *) (__desc + 2) = __base; \
	__desc[4] = __base >> 16; \
	__desc[7] = __base >> 24; \
} while (0)

#undef _set_limit
#define _set_limit(desc, limit) do { \
	volatile unsigned char *__desc = (unsigned char *) (desc); \
	unsigned long __limit = (limit); \
	*(volatile unsigned short *) __desc = __limit; \
	__desc[6] = (__desc[6] & 0xf0) | (__limit >> 16 & 0x0f); \
} while (0)

/* Input from a port writes to memory, output reads it. */
#define insb(port, to, n) ({ insb(port, to, n); mb(); })
#define insw(port, to, n) ({ insw(port, to, n); mb(); })
#define insl(port, to, n) ({ insl(port, to, n); mb(); })
#define outsb(port, from, n) ({ mb(); outsb(port, from, n); })
#define outsw(port, from, n) ({ mb(); outsw(port, from, n); })
#define outsl(port, from, n) ({ mb(); outsl(port, from, n); })

/* A device that is told something looks at memory and changes it. */
#undef outb
#define outb(x, port) ({ mb(); __outb((x), (port)); mb(); })
#undef outw
#define outw(x, port) ({ mb(); __outw((x), (port)); mb(); })
#undef outl
#define outl(x, port) ({ mb(); __outl((x), (port)); mb(); })
