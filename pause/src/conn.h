/* conn.h - the connection to podlet: packets and the fds that travel with them. */
#ifndef PODLET_CONN_H
#define PODLET_CONN_H

#include "limits.h"
#include "message.h"

#define MAX_PACKET_FDS 253u	/* the kernel's SCM_MAX_FD */
#define CONN_FDS (MAX_INBOX_FDS + MAX_PACKET_FDS)

/*
 * fds holds what came and has no owner yet: first `staged` fds that wait for the next CLONE, then those of the
 * packet being handled. Who needs one takes it; the rest is closed when the packet is done with.
 */
struct conn {
	int fd;			/* NO_FD: podlet is away */
	u32 generation;		/* counts the connections; an answer goes only to the one that asked */
	u32 version;		/* PROTO_VERSION of the other side; 0: it hasn't said HELLO */
	u32 nfds;
	u32 staged;
	int *fds;		/* CONN_FDS of them */
};

/* conn_open adopts fd, which must be non-blocking or used with MSG_DONTWAIT only, in place of an older connection. */
void conn_open(struct conn *c, int fd);
void conn_close(struct conn *c);

/*
 * conn_receive takes one packet into the PROTO_MAX_SIZE bytes at packet, its fds behind those in hand. Returns its size, 0 at the end
 * of the connection, -EAGAIN if there is none, -EMFILE if fds were lost for want of room (*size has the packet's size then), else -errno.
 */
long conn_receive(struct conn *c, void *packet, u64 *size);

/* conn_send sends one packet with one fd or NO_FD. A podlet that doesn't read loses the connection; it can come back and ask LIST. */
void conn_send(struct conn *c, const void *packet, u64 size, int fd);

/* conn_take gives the caller fd number `index`, NO_FD for PROTO_NO_FD. */
int conn_take(struct conn *c, u32 index);

/* conn_drop closes the fds in hand from `first` on that nobody took. */
void conn_drop(struct conn *c, u32 first);

#endif
