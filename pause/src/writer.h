/* writer.h - the log writer: a process of its own that may hang on a disk while nobody waits for it. */
#ifndef PODLET_WRITER_H
#define PODLET_WRITER_H

#include "ring.h"

/*
 * What a writer is told as it starts. It shares the supervisor's fd table, so it sees the files of processes that come later, but not its
 * memory: what it costs is charged to the cgroups that it is in.
 */
struct writer {
	int event;		/* eventfd by which the supervisor hears that it got on */
	enum {
		WRITER_STAYS,	/* where it is, and in the cgroups that it joins */
		WRITER_CHARGED,	/* as before, and it was cloned into one */
		WRITER_LEAVES,	/* it ends behind the first few records */
	} place;
	const int *cgroups;	/* files that it writes "0" to behind the first few records */
	u32 ncgroups;
};

/* writer_main takes records from r and writes the logs until nothing came for a while, or the ring says that it is to leave. */
void __attribute__((noreturn)) writer_main(struct ring *r, const struct writer *w);

/*
 * writer_step carries out one record, or as many of one process's as one write takes. Returns 0 if there was none, 1,
 * or 2 if the supervisor waits for a word.
 */
int writer_step(struct ring *r);

/* Takes over from a writer that may have been killed at any moment. */
void writer_recover(struct ring *r);

#endif
