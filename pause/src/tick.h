/* tick.h - those who wait for the log writer or for the clock. */
#ifndef PODLET_TICK_H
#define PODLET_TICK_H

#include "server.h"

/* tick does what is due; to be called before the loop sleeps for log_timeout. */
void tick(struct server *s);

/* tick_flush waits until what was written is in the logs. Returns 0 (it is), 1 (answered later) or -errno. */
int tick_flush(struct server *s, u64 seq);

#endif
