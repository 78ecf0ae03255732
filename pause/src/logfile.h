/* logfile.h - the file that a process logs to, and its change. */
#ifndef PODLET_LOGFILE_H
#define PODLET_LOGFILE_H

#include "server.h"

/* logfile_switch sends the output read from here on to the file in hand, or stops logging. Returns 0 (done), 1 (answered later) or -errno. */
int logfile_switch(struct server *s, struct process *p, u64 seq);

/* logfile_ready is logfile_switch up to the turn, for which logfile_turn is waited for; that one returns -ENOENT if nothing is waited for. */
int logfile_ready(struct server *s, struct process *p, u64 seq);
int logfile_turn(struct server *s, struct process *p);

/* logfile_settle answers a change, if the writer is through with the file before or it is time. */
void logfile_settle(struct server *s, struct process *p, u64 now);

/* logfile_forget: no turn is waited for any longer. */
void logfile_forget(struct server *s, struct process *p);

#endif
