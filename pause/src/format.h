/*
 * format.h - the CRI's log format: one line for each segment,
 *
 *	2026-11-24T15:04:05.123456789Z stdout F text
 *
 * F where the container's own newline ends it, P where more of the same line follows, or its stream ended without
 * one. Every byte but the newline is text, NUL and \r too. A pure function of its arguments, so that a writer that takes over
 * from a dead one makes the same bytes.
 */
#ifndef PODLET_FORMAT_H
#define PODLET_FORMAT_H

#include "types.h"

#define FORMAT_SEGMENT	16384u	/* bytes of text in one line at most */
#define FORMAT_PREFIX	40u	/* bytes before the text */
#define FORMAT_LINE	(FORMAT_PREFIX + FORMAT_SEGMENT + 1u)
#define FORMAT_LOST	160u	/* bytes that format_lost needs at most */

/* format_prefix makes what stands before each text of that stream (STDOUT or STDERR) read at that time (CLOCK_REALTIME ns). */
void format_prefix(u8 prefix[FORMAT_PREFIX], u64 time, u32 stream);

/*
 * format_lines takes segments from text, from *at on, as many as fit whole into the room at out, FORMAT_LINE or more.
 * Advances *at and returns how much it wrote. What follows the last newline is a P line.
 */
u64 format_lines(const u8 prefix[FORMAT_PREFIX], const u8 *text, u64 size, u64 *at, u8 *out, u64 room);

/* format_lost makes the line that tells of a gap in the log; returns its size. */
u64 format_lost(u8 *out, u64 time, u64 lines, u64 bytes, int error);

/* format_count counts the lines at out, and the container's bytes in them. */
void format_count(const u8 *out, u64 size, u64 *lines, u64 *bytes);

/* Where the first newline of text is, size if there is none; how many bytes of text end with its last newline, 0 if there is none. */
u64 format_first_newline(const u8 *text, u64 size);
u64 format_behind_newline(const u8 *text, u64 size);

/*
 * format_unfinished returns how many bytes at the end of size belong to a segment that may go on. The last `fresh` of
 * them are at text; there is no newline in those before.
 */
u64 format_unfinished(const u8 *text, u64 fresh, u64 size);

#endif
