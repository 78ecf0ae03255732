/* watch.c - what the event loop is to hear of. */
#include "watch.h"

int watch(struct server *s, int fd, u32 events, u64 about)
{
	struct epoll_event e = {events, about};

	return (int)sys_epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e);
}

void unwatch(struct server *s, int fd)
{
	struct epoll_event e = {0};

	sys_epoll_ctl(s->epoll, EPOLL_CTL_DEL, fd, &e);
}
