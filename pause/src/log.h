/* log.h - where output enters the log: the ring that the writer reads, and what tick is to look for. */
#ifndef PODLET_LOG_H
#define PODLET_LOG_H

#include "server.h"

/* log_open makes the ring unless it is there. Returns 0 if there is no memory. */
int log_open(struct server *s);

/* log_kick tells the writer that there are new records; where none runs, tick starts one. */
void log_kick(struct server *s);

/* log_end sends the end of p's log to the writer. */
void log_end(struct server *s, struct process *p);

/* The writer got on, or is dead. */
void log_heard(struct server *s);
void log_died(struct server *s, int status);

/* log_due_at makes tick look round at that time (CLOCK_MONOTONIC ns) at the latest. */
void log_due_at(struct server *s, u64 when);

/* log_timeout is how long the loop may sleep, in ms, -1: for ever. */
int log_timeout(const struct server *s);

#endif
