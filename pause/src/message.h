/* message.h - taking a packet apart. The one place that reads bytes as messages; fuzzed. */
#ifndef PODLET_MESSAGE_H
#define PODLET_MESSAGE_H

#include "proto.h"
#include "types.h"

union message {
	struct msg_header h;
	struct msg_hello hello;
	struct msg_clone clone;
	struct msg_id id;
	struct msg_tap tap;
	struct msg_writer writer;
};

/*
 * message_decode checks the n bytes of a packet and copies them to *out. Returns 0; -EBADMSG if not even the header makes
 * sense, so there is no seq to answer to; -EINVAL, or -E2BIG for a field of a later version that isn't 0. With these two, out->h is good.
 */
int message_decode(union message *out, const void *packet, u64 n);

/* Where in a CLONE's fds the tape's own ones lie. */
struct clone_layout {
	u32 first;	/* index of the tape's fd 0 */
	u32 count;	/* how many the tape has */
};

/*
 * clone_check checks every index of a CLONE that came with nfds fds: each names one fd of its own in front of the tape.
 * Returns 0 or -EINVAL.
 */
int clone_check(const struct msg_clone *m, u32 nfds, struct clone_layout *out);

#endif
