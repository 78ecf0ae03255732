/*
 * tape.h - the wire form of a tape: a flat list of system calls, written by Go and played by C.
 *
 * A tape is one sealed memfd:
 *
 *	+-------------+----------------+------------------+---------------+
 *	| tape_header | tape_step[]    | tape_reloc[]     | data          |
 *	+-------------+----------------+------------------+---------------+
 *
 * The player maps it privately, checks it once (tape_validate), applies the relocations, and then
 * carries out one step after the other. A step is a system call number of the machine's own, six
 * arguments, the errnos it may ignore, and the register that takes its result. The player knows
 * nothing of containers, builds no string and takes no decision beyond the flags below.
 *
 * This file owns every number of the format. podlet/pod/tape holds Go's side; a test of that
 * package compares the two. Numbers are append-only: never renumber, never reuse.
 */
#ifndef PODLET_TAPE_H
#define PODLET_TAPE_H

#include "types.h"

#define TAPE_MAGIC	0x65706174u	/* "tape" */
#define TAPE_VERSION	1u

#define TAPE_MAX_SIZE	(8u << 20)	/* bytes; a Linux command line and environment stay below 6 MiB */
#define TAPE_MAX_STEPS	16384u
#define TAPE_MAX_FDS	4096u
#define TAPE_REGISTERS	64u
#define TAPE_NO_REGISTER 0xffu
#define TAPE_IGNORES	4u
#define TAPE_RETRIES	10000u

/* Kinds of an argument. */
enum {
	TAPE_ARG_IMM	= 0,	/* the value itself */
	TAPE_ARG_STR	= 1,	/* offset of a NUL-terminated string in data */
	TAPE_ARG_BUF	= 2,	/* low 32 bits: offset in data, high 32 bits: length, all of it inside data */
	TAPE_ARG_FD	= 3,	/* index of an fd that came with the tape */
	TAPE_ARG_REG	= 4,	/* the result of an earlier step */
};

/* Flags of a step. */
enum {
	/* The call is a clone whose child plays on. The parent notes the child's pid in the status slot and exits with 0. */
	TAPE_STEP_FORK		= 1 << 0,
	/* Success skips the next `skip` steps; an ignored failure goes on with the next one. */
	TAPE_STEP_SKIP		= 1 << 1,
	/* A result of 0 is a failure too (EPIPE): the gate's other end is gone. */
	TAPE_STEP_POSITIVE	= 1 << 2,
	/*
	 * One of several tries (execve along PATH). If the tape runs out, the failure reported is the first
	 * try that failed with another errno than ENOENT, else the last try.
	 */
	TAPE_STEP_TRY		= 1 << 3,
	/* EAGAIN is tried again, up to TAPE_RETRIES times: what openat2(2) says when the tree changed while it walked a path with "..". */
	TAPE_STEP_RETRY		= 1 << 4,
};

/* Kinds of a relocation: what is written into data before the first step. */
enum {
	TAPE_RELOC_DATA	= 1,	/* *(u64 *)(data + where) = address of data + value */
	TAPE_RELOC_FD	= 2,	/* *(u32 *)(data + where) = the number of passed fd `value` */
	TAPE_RELOC_FD64	= 3,	/* *(u64 *)(data + where) = the number of passed fd `value` (clone_args.cgroup) */
};

struct tape_header {
	u32 magic;
	u32 version;
	u32 arch;		/* AUDIT_ARCH_* the step numbers belong to */
	u32 size;		/* bytes of the whole tape */
	u32 steps_off, nsteps;	/* offsets count from the start of the tape; each part 8-aligned, in this order, no overlap */
	u32 relocs_off, nrelocs;
	u32 data_off, data_size;
	u32 nfds;		/* fds the tape expects with it, the tape's own not counted */
	u32 reserved;		/* 0 */
};

struct tape_step {
	u16 nr;			/* system call number */
	u8  dst;		/* register for the result, or TAPE_NO_REGISTER */
	u8  flags;		/* TAPE_STEP_* */
	u8  kind[6];		/* TAPE_ARG_* of each argument */
	u8  skip;		/* with TAPE_STEP_SKIP: how many steps */
	u8  reserved[5];	/* 0 */
	u16 ignore[TAPE_IGNORES];	/* errnos that don't end the tape; 0: unused */
	u64 arg[6];
};

struct tape_reloc {
	u32 where;		/* offset in data; 8-aligned for DATA and FD64, 4-aligned for FD */
	u32 kind;
	u64 value;
};

/*
 * One slot of the status page that pause shares with every process it launches and with podlet. A plain
 * store needs no system call, so the very last step can report after its seccomp filter is in force.
 */
struct tape_status {
	u32 step;		/* the step being carried out; after a failure the one that failed */
	s32 error;		/* errno of the failure, 0: none */
	s32 pid;		/* of the FORK child, in pause's own PID namespace; 0: none */
	u32 done;		/* 1: a tape that may end has ended */
};

#define TAPE_STEP_INVALID 0xffffffffu	/* status.step where the tape itself is refused (EINVAL) */

/* An unpacked, checked tape. */
struct tape {
	struct tape_header *header;
	struct tape_step *steps;
	struct tape_reloc *relocs;
	u8 *data;
};

/*
 * tape_validate checks every bound, alignment, terminator, fd and register index of the size bytes at base,
 * which came with nfds fds, and fills *out. Returns 0 or -EINVAL. It writes nothing to base. Every check is in 64-bit
 * arithmetic; after success tape_play can't read or write outside base.
 */
int tape_validate(struct tape *out, void *base, u64 size, u32 nfds);

/*
 * tape_play applies the relocations and carries out the steps. fds are the real numbers of the passed fds.
 * Returns 0 at the tape's end, or -errno with status->step and status->error set. Doesn't return after a successful execve.
 */
int tape_play(struct tape *t, const int *fds, struct tape_status *status);

#endif
