/* watch.h - what the event loop is to hear of. */
#ifndef PODLET_WATCH_H
#define PODLET_WATCH_H

#include "server.h"

/* What an event is about. The u64 of an epoll event is WATCH_x | index of the process << 8 | stream or number of the tap << 32. */
enum {
	WATCH_CONN,
	WATCH_LISTEN,
	WATCH_SIGNAL,
	WATCH_OUTPUT,
	WATCH_TAP,
	WATCH_WRITER,
};

/* watch asks for the events of fd. Returns 0 or -errno. */
int watch(struct server *s, int fd, u32 events, u64 about);

void unwatch(struct server *s, int fd);

#endif
