/* server.h - what the nursery and a pause have in common: one thread, one epoll, one connection, one table. */
#ifndef PODLET_SERVER_H
#define PODLET_SERVER_H

#include "conn.h"
#include "process.h"
#include "sys.h"

enum role { ROLE_NURSERY, ROLE_PAUSE };

struct server {
	enum role role;
	int epoll;
	int listen;		/* NO_FD in the nursery */
	int signals;		/* signalfd of SIGCHLD */
	int status_fd;		/* the status page, one slot for each entry of the table */
	struct tape_status *status;
	u64 started;		/* CLOCK_REALTIME ns */
	u32 taps;		/* how many there were, the number of the last one */
	/* The log writer, and what it shares with this process. */
	struct {
		int pid;	/* 0: none runs */
		int event;	/* eventfd: it got on and somebody waits for that; with ring */
		struct ring *ring; /* 0: nothing was logged yet */
		u8 *held;	/* FORMAT_SEGMENT bytes for each stream of each entry of the table, for its unfinished line; with ring */
		u64 retry;	/* CLOCK_MONOTONIC: start another one not before */
		u64 trim;	/* CLOCK_MONOTONIC: give memory back not before; 0: nothing to give */
		u64 due;	/* CLOCK_MONOTONIC: tick is to look round; 0: not by the clock */
		u32 waiting;	/* 1: somebody may be waiting for the writer or the clock */
		int inside;	/* directory of the v2 cgroup that writers are cloned into; NO_FD: none */
		u32 outside;	/* 1: the last writer was killed; the next one begins outside the cgroups */
		u32 ncgroups;
		int cgroups[MAX_WRITER_CGROUPS]; /* files that a writer writes "0" to */
		u64 flush_due;	/* CLOCK_MONOTONIC: FLUSH is answered at the latest; 0: nothing to answer */
		u64 flush_at;	/* ring position that it waits for */
		u64 flush_seq;
		u32 flush_asker;
	} log;
	struct conn conn;
	struct table table;
	/* Last, and apart from the rest: a pause that is idle has not touched them. */
	int inbox[CONN_FDS];	/* conn.fds */
	int keep[MAX_INBOX_FDS]; /* launch.c: the fds that a child leaves open */
} __attribute__((aligned(ARCH_PAGE)));

/* server.c */
int server_open(struct server *s, enum role role);	/* everything but the connection; 0 or -errno */
void __attribute__((noreturn)) server_run(struct server *s);

/* answer.c */
void answer_done(struct server *s, u64 seq);
void answer_failed(struct server *s, u64 seq, int error, u32 step);
void answer_cloned(struct server *s, u64 seq, const struct process *p);
void answer_process(struct server *s, u64 seq, const struct process *p);
void answer_exit(struct server *s, struct process *p, u64 now);	/* sends EXITED if it is time */

/* launch.c */
void launch(struct server *s, const struct msg_clone *m);

/* reap.c */
void reap(struct server *s);

#endif
