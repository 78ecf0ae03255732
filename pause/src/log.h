/* log.h - the log writer's life, and those who wait for it. */
#ifndef PODLET_LOG_H
#define PODLET_LOG_H

#include "server.h"

/* log_open makes the ring unless it is there. Returns 0 if there is no memory. */
int log_open(struct server *s);

/* log_kick tells the writer that there are new records; where none runs, log_tick starts one. */
void log_kick(struct server *s);

/* log_end sends the end of p's log to the writer. */
void log_end(struct server *s, struct process *p);

/* log_switch sends the output read from here on to the file in hand, or stops logging. Returns 0 (done), 1 (answered later) or -errno. */
int log_switch(struct server *s, struct process *p, u64 seq);

/*
 * log_ready is log_switch up to the turn, for which log_turn is waited for; log_turn returns -ENOENT if nothing is waited for.
 */
int log_ready(struct server *s, struct process *p, u64 seq);
int log_turn(struct server *s, struct process *p);

/* The writer got on, or is dead. */
void log_heard(struct server *s);
void log_died(struct server *s, int status);

/* log_ask asks podlet for the cgroups of a writer that runs, where they aren't known. */
void log_ask(struct server *s);

/* log_cgroups takes them from the fds in hand; the writer that runs makes way for one in there. Returns 0 or -errno. */
int log_cgroups(struct server *s, const struct msg_writer *m);

/* log_flush waits until what was written is in the logs. Returns 0 (it is), 1 (answered later) or -errno. */
int log_flush(struct server *s, u64 seq);

/* log_due_at makes log_tick look round at that time (CLOCK_MONOTONIC ns) at the latest. */
void log_due_at(struct server *s, u64 when);

/* log_timeout is how long the loop may sleep, in ms, -1: for ever; log_tick does what is due. */
int log_timeout(const struct server *s);
void log_tick(struct server *s);

#endif
