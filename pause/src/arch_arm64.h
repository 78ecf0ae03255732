/* arch_arm64.h - what differs by machine: entering the program, entering the kernel. */
#ifndef PODLET_ARCH_H
#define PODLET_ARCH_H

#define ARCH_AUDIT	0xc00000b7u	/* AUDIT_ARCH_AARCH64 */
#define ARCH_PAGE	65536u		/* the largest page an arm64 kernel may use */

static inline long syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

/* The kernel starts a program with argc, argv and the environment on the stack and nothing else set up. */
#define ARCH_START				\
	__asm__(".globl _start\n"		\
		"_start:\n"			\
		"	mov x29, #0\n"		\
		"	mov x30, #0\n"		\
		"	mov x0, sp\n"		\
		"	and sp, x0, #-16\n"	\
		"	b entry\n")

#endif
