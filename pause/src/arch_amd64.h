/* arch_amd64.h - what differs by machine: entering the program, entering the kernel. */
#ifndef PODLET_ARCH_H
#define PODLET_ARCH_H

#define ARCH_AUDIT	0xc000003eu	/* AUDIT_ARCH_X86_64 */
#define ARCH_PAGE	4096u

static inline long syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* The kernel starts a program with argc, argv and the environment on the stack and nothing else set up. */
#define ARCH_START				\
	__asm__(".globl _start\n"		\
		"_start:\n"			\
		"	xor %ebp, %ebp\n"	\
		"	mov %rsp, %rdi\n"	\
		"	and $-16, %rsp\n"	\
		"	call entry\n"		\
		"	ud2\n")

#endif
