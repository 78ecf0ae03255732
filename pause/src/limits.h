/* limits.h - the sizes of pause's tables. Everything is a fixed arena; what is never used is never touched and costs nothing. */
#ifndef PODLET_LIMITS_H
#define PODLET_LIMITS_H

#include "proto.h"
#include "tape.h"

/* The nursery's table holds one entry a pod, a pause's one a process. */
#define MAX_PROCESSES		4096u

/* fds in hand for one CLONE: the tape's own, the tape, the *_fd fields and the log writer's cgroups. */
#define MAX_WRITER_CGROUPS	32u
#define MAX_INBOX_FDS		(TAPE_MAX_FDS + 8u + MAX_WRITER_CGROUPS)

/* Taps a process has at a time: `kubectl attach` of so many people. */
#define MAX_TAPS		4u

/* How long the output of a process isn't read behind LOG_READY; podlet takes some 10 ms to LOG_TURN. */
#define READY_NS		300000000ul

/* How long an exit is kept back for the last output to reach the log: a stalled disk must not delay it. */
#define DRAIN_NS		50000000ul

#endif
