/*
 * output.h - what processes write: from their pipes into the ring and to attached clients.
 *
 * Nothing here waits for anything. Where the ring is full, a stream isn't read until there is room, and its process
 * blocks on its full pipe; all else goes on.
 */
#ifndef PODLET_OUTPUT_H
#define PODLET_OUTPUT_H

#include "server.h"

/* output_begin starts reading p's output; log is the file it goes to, or NO_FD. Takes over log. */
void output_begin(struct server *s, struct process *p, int log);

/* output_read reads what stream has now, or sees its end. */
void output_read(struct server *s, struct process *p, u32 stream);

/* output_drain reads all that a dead process left in its pipes; what it left of a line is held back no longer. */
void output_drain(struct server *s, struct process *p);

/* output_catch_up reads what was written up to now; an unfinished line stays held back. */
void output_catch_up(struct server *s, struct process *p);

/* output_hold reads nothing more until output_resume. */
void output_hold(struct server *s, struct process *p);

/* output_resume goes on where there was no room; to be called when output_room. */
void output_resume(struct server *s, struct process *p);

/* output_flush sends on what is held of stream, as it is. Returns 0 if the ring has no room. */
int output_flush(struct server *s, struct process *p, u32 stream);

/* output_room tells whether it is worth while to read stalled streams again. */
int output_room(const struct server *s);

/* output_settled tells whether all output that was read is in the log. */
int output_settled(const struct server *s, const struct process *p);

/* output_finish reads what is there and no more; the entry is freed as soon as the log has all. output_let_go tries that again. */
void output_finish(struct server *s, struct process *p);
void output_let_go(struct server *s, struct process *p);

/* How much of p's output the log never got. */
void output_dropped(const struct server *s, const struct process *p, u64 *bytes, u64 *lines);

#endif
