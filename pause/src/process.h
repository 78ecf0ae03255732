/* process.h - the table of processes that a pause or the nursery looks after. */
#ifndef PODLET_PROCESS_H
#define PODLET_PROCESS_H

#include "limits.h"
#include "types.h"

/*
 *	          CLONE                 fork seen          reaped           EXITED sent, ACK        log written
 *	(free) -----------> LAUNCHING -----------> RUNNING --------> EXITED -----------> CLOSING -------------> (free)
 *	   |                    | launch failed       ^
 *	   +------------------- | --------------------+  a tape without a FORK step
 *	                        +--> (free)
 */
enum {
	SLOT_FREE = 0,
	SLOT_LAUNCHING,		/* pid is an intermediate, which will leave the app's pid in the status slot */
	SLOT_RUNNING,
	SLOT_EXITED,		/* the exit record is kept until podlet acknowledges it */
	SLOT_CLOSING,		/* acknowledged; its last output is not in the log yet */
};

enum { STDOUT = 0, STDERR = 1 };

/* A copy of the output for an attached client; a full or closed pipe ends it. */
struct tap {
	int fd[2];
	u32 number;		/* never used twice in a pause's life */
};

struct process {
	u64 id[4];
	u64 started, exited;	/* CLOCK_REALTIME ns */
	u64 asker_seq;		/* LAUNCHING: the CLONE to answer, */
	u32 asker;		/* and the connection's generation it came by */
	u32 kind, flags;	/* of msg_clone */
	u32 state;		/* SLOT_* */
	s32 pid, status;
	u32 step;		/* tape_status at the exit */
	s32 error;
	int pidfd;
	int output[2];		/* read ends, or the TTY's master; NO_FD after its end */
	int input;		/* write end of stdin */
	int log;		/* a log file that the writer doesn't know of yet: there was no output; NO_FD: none */
	int next_log;		/* the file of LOG_READY; NO_FD: there is none */
	u32 logged;		/* 1: the writer has a file for the output */
	u32 stalled;		/* bit per stream: not read because the ring is full, or behind LOG_READY */
	u32 flush;		/* bit per stream: what is held shall go out as it is, as soon as there is room */
	u32 drains;		/* CLOSING: how often its streams may still be drained */
	u32 held[2];		/* bytes held back of an unfinished line */
	u64 log_begin;		/* ring position behind the process's first record; 0: there was none */
	u64 log_data;		/* behind its last */
	u64 log_switched;	/* behind that of the last LOG */
	u64 log_unread;		/* bytes of output since the writer last had all of it */
	u64 dropped_bytes;	/* output that never came to the writer, for want of memory */
	u64 dropped_lines;
	u64 exit_due;		/* CLOCK_MONOTONIC: EXITED goes out at the latest; 0: it did */
	u64 hold;		/* CLOCK_MONOTONIC: what is stalled is not to be read before, behind LOG_READY or for want of watches; 0: it may be read */
	u64 log_due;		/* CLOCK_MONOTONIC: LOG is answered at the latest; 0: nothing to answer */
	u64 log_seq;
	u32 log_asker;
	struct tap taps[MAX_TAPS];
};

struct table {
	u32 limit;		/* entries in use are below; PROTO_MAX_PROCESSES or MAX_PROCESSES */
	u32 top;		/* all entries from here on are free */
	struct process entry[MAX_PROCESSES];
};

/* process_new returns a free entry with no fds, or 0 if the table is full. */
struct process *process_new(struct table *t);

/* process_free closes what the entry still holds and forgets it. */
void process_free(struct table *t, struct process *p);

/* process_find returns the entry with this id that podlet may still know, or 0. */
struct process *process_find(struct table *t, const u64 *id);

static inline u32 process_slot(const struct table *t, const struct process *p) { return (u32)(p - t->entry); }

#endif
