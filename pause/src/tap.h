/* tap.h - copies of the output for attached clients. A client that is slower than a pipe's fill loses its copy; nobody waits for it. */
#ifndef PODLET_TAP_H
#define PODLET_TAP_H

#include "server.h"

/* tap_copy gives n bytes of stream to all who listen. */
void tap_copy(struct server *s, struct process *p, u32 stream, const u8 *text, u64 n);

/* tap_end_stream closes all copies of a stream that is at its end. */
void tap_end_stream(struct server *s, struct process *p, u32 stream);

/* tap_add answers TAP: the pipes in hand get copies from here on. Returns 1 (answered) or -errno. */
int tap_add(struct server *s, struct process *p, const struct msg_tap *m);

/* tap_ended: the client of the tap with that number closed its pipe. */
void tap_ended(struct server *s, struct process *p, u32 number);

#endif
