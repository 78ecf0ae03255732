/* writer.h - the log writer: a process of its own that may hang on a disk while nobody waits for it. */
#ifndef PODLET_WRITER_H
#define PODLET_WRITER_H

#include "ring.h"

/*
 * writer_main takes records from r and writes the logs until nothing came for a while. It shares the supervisor's fd
 * table, so it sees the files of processes that come later, but not its memory: what it costs is charged to the cgroups
 * that it joins behind the first few records, whose cgroup.procs are given.
 * event is the eventfd by which the supervisor hears that it got on.
 */
void __attribute__((noreturn)) writer_main(struct ring *r, int event, const int *cgroups, u32 ncgroups);

/*
 * writer_step carries out one record, or as many of one process's as one write takes. Returns 0 if there was none, 1,
 * or 2 if the supervisor waits for a word.
 */
int writer_step(struct ring *r);

#endif
