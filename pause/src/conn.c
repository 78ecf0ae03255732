/* conn.c - the connection to podlet. Nothing here ever blocks. */
#include "conn.h"
#include "memory.h"
#include "sys.h"

/* A control message with room for the most fds the kernel passes at a time. */
struct rights {
	struct cmsghdr h;
	int fds[MAX_PACKET_FDS + 1];
};

void conn_open(struct conn *c, int fd)
{
	s32 room = 8 << 20;	/* bytes; an answer to LIST with every process is one burst. Memory is used only while podlet doesn't read. */

	conn_close(c);
	c->fd = fd;
	c->generation++;
	c->version = 0;
	sys_setsockopt(fd, SO_SNDBUFFORCE, &room, sizeof(room));
}

void conn_close(struct conn *c)
{
	conn_drop(c, 0);
	close_fd(&c->fd);
}

static void keep_rights(struct conn *c, const struct rights *r, u64 received)
{
	u64 bytes;

	if (received < sizeof(r->h) || r->h.level != SOL_SOCKET || r->h.type != SOCKET_RIGHTS)
		return;
	bytes = r->h.len - sizeof(r->h);
	memcpy(&c->fds[c->nfds], r->fds, bytes);
	c->nfds += (u32)(bytes / sizeof(int));
}

long conn_receive(struct conn *c, void *packet, u64 *size)
{
	struct rights rights;
	struct iovec iov = {packet, PROTO_MAX_SIZE};
	struct msghdr m = {.iov = &iov, .iovlen = 1, .control = &rights, .controllen = sizeof(rights)};
	long n = sys_recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n <= 0)
		return n;
	keep_rights(c, &rights, m.controllen);
	*size = (u64)n;
	if (m.flags & MSG_TRUNC)
		return -EMSGSIZE;
	if ((m.flags & MSG_CTRUNC) || c->nfds > MAX_INBOX_FDS)
		return -EMFILE;
	return n;
}

void conn_send(struct conn *c, const void *packet, u64 size, int fd)
{
	struct {
		struct cmsghdr h;
		int fd[2];	/* the second one is padding */
	} right = {{sizeof(right.h) + sizeof(int), SOL_SOCKET, SOCKET_RIGHTS}, {fd, 0}};
	struct iovec iov = {(void *)packet, size};
	struct msghdr m = {.iov = &iov, .iovlen = 1};

	if (c->fd < 0)
		return;
	if (fd >= 0) {
		m.control = &right;
		m.controllen = sizeof(right);
	}
	if (sys_sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		conn_close(c);
}

int conn_take(struct conn *c, u32 index)
{
	int fd = NO_FD;

	if (index < c->nfds) {
		fd = c->fds[index];
		c->fds[index] = NO_FD;
	}
	return fd;
}

void conn_drop(struct conn *c, u32 first)
{
	for (u32 i = first; i < c->nfds; i++)
		close_fd(&c->fds[i]);
	if (c->nfds > first)
		c->nfds = first;
	if (c->staged > first)
		c->staged = first;
}
