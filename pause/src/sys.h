/*
 * sys.h - the system calls pause uses, typed, one line each. Every one returns its result or -errno;
 * there is no errno variable. Numbers and structs are the kernel's own, from its exported headers.
 */
#ifndef PODLET_SYS_H
#define PODLET_SYS_H

#include <asm/signal.h>
#include <asm/socket.h>
#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/errno.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/signalfd.h>
#include <linux/stat.h>
#include <linux/time.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include "types.h"

#if defined(__x86_64__)
#include "arch_amd64.h"
#elif defined(__aarch64__)
#include "arch_arm64.h"
#else
#error "pause knows amd64 and arm64"
#endif

#define NO_FD (-1)

/* The socket interface is the one part of the ABI that the kernel exports no header for. */
#define SOCKET_RIGHTS		1	/* SCM_RIGHTS */
#define MSG_TRUNC		0x20
#define MSG_CTRUNC		0x8
#define MSG_DONTWAIT		0x40
#define MSG_NOSIGNAL		0x4000
#define MSG_CMSG_CLOEXEC	0x40000000

struct msghdr {
	void *name;
	s32 namelen;
	struct iovec *iov;
	u64 iovlen;
	void *control;
	u64 controllen;
	u32 flags;
};

struct cmsghdr {
	u64 len;
	s32 level;
	s32 type;
};

struct ucred {
	s32 pid;
	u32 uid;
	u32 gid;
};

#define SYS1(nr, a)			syscall6(nr, (long)(a), 0, 0, 0, 0, 0)
#define SYS2(nr, a, b)			syscall6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(nr, a, b, c)		syscall6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(nr, a, b, c, d)		syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(nr, a, b, c, d, e)		syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(nr, a, b, c, d, e, f)	syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Results in [-4095, -1] are errnos; mmap returns addresses through the same register. */
static inline int sys_failed(long result) { return result < 0 && result >= -4095; }

static inline long sys_read(int fd, void *p, u64 n) { return SYS3(__NR_read, fd, p, n); }
static inline long sys_write(int fd, const void *p, u64 n) { return SYS3(__NR_write, fd, p, n); }
static inline long sys_pwrite(int fd, const void *p, u64 n, u64 at) { return SYS4(__NR_pwrite64, fd, p, n, at); }
static inline long sys_close(int fd) { return SYS1(__NR_close, fd); }
static inline long sys_close_range(u32 first, u32 last) { return SYS3(__NR_close_range, first, last, 0); }
static inline long sys_dup3(int from, int to, int flags) { return SYS3(__NR_dup3, from, to, flags); }
static inline long sys_lseek(int fd, s64 at, int whence) { return SYS3(__NR_lseek, fd, at, whence); }
static inline long sys_fstat(int fd, struct stat *st) { return SYS2(__NR_fstat, fd, st); }
static inline long sys_ftruncate(int fd, u64 size) { return SYS2(__NR_ftruncate, fd, size); }
static inline long sys_fcntl(int fd, int op, long arg) { return SYS3(__NR_fcntl, fd, op, arg); }
static inline long sys_memfd_create(const char *name, u32 flags) { return SYS2(__NR_memfd_create, name, flags); }
static inline long sys_mmap(u64 size, int prot, int flags, int fd) { return SYS6(__NR_mmap, 0, size, prot, flags, fd, 0); }
static inline long sys_munmap(void *p, u64 size) { return SYS2(__NR_munmap, p, size); }
static inline long sys_madvise(void *p, u64 size, int advice) { return SYS3(__NR_madvise, p, size, advice); }
static inline long sys_epoll_create(void) { return SYS1(__NR_epoll_create1, O_CLOEXEC); }
static inline long sys_epoll_ctl(int ep, int op, int fd, struct epoll_event *e) { return SYS4(__NR_epoll_ctl, ep, op, fd, e); }
static inline long sys_epoll_wait(int ep, struct epoll_event *e, int n, int ms) { return SYS6(__NR_epoll_pwait, ep, e, n, ms, 0, 8); }
static inline long sys_eventfd(void) { return SYS2(__NR_eventfd2, 0, O_CLOEXEC | O_NONBLOCK); }
static inline long sys_signalfd(const u64 *mask) { return SYS4(__NR_signalfd4, -1, mask, 8, O_CLOEXEC | O_NONBLOCK); }
static inline long sys_sigprocmask(int how, const u64 *mask) { return SYS4(__NR_rt_sigprocmask, how, mask, 0, 8); }
static inline long sys_sigaction(int sig, const struct sigaction *act) { return SYS4(__NR_rt_sigaction, sig, act, 0, 8); }
static inline long sys_clone3(struct clone_args *args) { return SYS2(__NR_clone3, args, sizeof(*args)); }
static inline long sys_wait(int pid, int *status, int flags) { return SYS4(__NR_wait4, pid, status, flags, 0); }
static inline long sys_pidfd_open(int pid) { return SYS2(__NR_pidfd_open, pid, 0); }
static inline long sys_prctl(int op, u64 a, u64 b) { return SYS5(__NR_prctl, op, a, b, 0, 0); }
static inline long sys_prlimit(int what, const struct rlimit64 *set, struct rlimit64 *get) { return SYS4(__NR_prlimit64, 0, what, set, get); }
static inline long sys_capset(struct __user_cap_header_struct *h, struct __user_cap_data_struct *d) { return SYS2(__NR_capset, h, d); }
static inline long sys_sendmsg(int fd, struct msghdr *m, int flags) { return SYS3(__NR_sendmsg, fd, m, flags); }
static inline long sys_recvmsg(int fd, struct msghdr *m, int flags) { return SYS3(__NR_recvmsg, fd, m, flags); }
static inline long sys_accept(int fd) { return SYS4(__NR_accept4, fd, 0, 0, O_CLOEXEC | O_NONBLOCK); }
static inline long sys_getsockopt(int fd, int what, void *p, s32 *n) { return SYS5(__NR_getsockopt, fd, SOL_SOCKET, what, p, n); }
static inline long sys_setsockopt(int fd, int what, const void *p, s32 n) { return SYS5(__NR_setsockopt, fd, SOL_SOCKET, what, p, n); }
static inline long sys_futex_wait(u32 *p, u32 seen, struct timespec *most) { return SYS4(__NR_futex, p, FUTEX_WAIT, seen, most); }
static inline long sys_futex_wake(u32 *p) { return SYS3(__NR_futex, p, FUTEX_WAKE, 1); }

static inline void __attribute__((noreturn)) sys_exit(int code)
{
	for (;;)
		SYS1(__NR_exit_group, code);
}

/* Nanoseconds of CLOCK_REALTIME (for people) or CLOCK_MONOTONIC (for deadlines). */
static inline u64 sys_clock(int clock)
{
	struct timespec t = {0};

	SYS2(__NR_clock_gettime, clock, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

/* close_fd closes *fd if it is open and forgets it, so that no number outlives its file. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		sys_close(*fd);
	*fd = NO_FD;
}

#endif
