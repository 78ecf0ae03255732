/* format.c - the CRI's log format. */
#include "format.h"
#include "memory.h"
#include "process.h"

#define NEWLINES 0x0a0a0a0a0a0a0a0aul
#define ONES 0x0101010101010101ul
#define TOPS 0x8080808080808080ul
#define TAG_AT (FORMAT_PREFIX - 2)

/* A bit for the first newline among the 8 bytes at p, in the byte's top bit; above it there may be false ones, below there are none. */
static u64 newlines(const u8 *p)
{
	u64 word;

	__builtin_memcpy(&word, p, sizeof(word));
	word ^= NEWLINES;
	return (word - ONES) & ~word & TOPS;
}

u64 format_first_newline(const u8 *text, u64 size)
{
	u64 i = 0;

	for (; i + 8 <= size; i += 8) {
		u64 found = newlines(text + i);

		if (found != 0)
			return i + (u64)__builtin_ctzl(found) / 8;
	}
	for (; i < size; i++)
		if (text[i] == '\n')
			return i;
	return size;
}

u64 format_behind_newline(const u8 *text, u64 size)
{
	while (size >= 8 && newlines(text + size - 8) == 0)
		size -= 8;
	while (size > 0 && text[size - 1] != '\n')
		size--;
	return size;
}

u64 format_unfinished(const u8 *text, u64 fresh, u64 size)
{
	u64 behind = format_behind_newline(text, fresh);
	u64 rest = behind > 0 ? fresh - behind : size;

	/* One of exactly FORMAT_SEGMENT stays: a newline may be next, and makes it an F line. */
	return rest > FORMAT_SEGMENT ? (rest - 1) % FORMAT_SEGMENT + 1 : rest;
}

static void digits(u8 *out, u32 n, u64 value)
{
	while (n > 0) {
		out[--n] = (u8)('0' + value % 10);
		value /= 10;
	}
}

/* The Gregorian date of a day counted from 1970-01-01. Years start in March here, so that the leap day is the last. */
static void date(u8 *out, u64 day)
{
	u64 since = day + 719468;	/* 0000-03-01 */
	u64 era = since / 146097, of_era = since % 146097;
	u64 year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	u64 of_year = of_era - (365 * year + year / 4 - year / 100);
	u64 month = (5 * of_year + 2) / 153;	/* March is 0 */

	digits(out + 8, 2, of_year - (153 * month + 2) / 5 + 1);
	digits(out + 5, 2, month < 10 ? month + 3 : month - 9);
	digits(out, 4, era * 400 + year + (month >= 10));
}

void format_prefix(u8 prefix[FORMAT_PREFIX], u64 time, u32 stream)
{
	u64 seconds = time / 1000000000u, of_day = seconds % 86400;

	memcpy(prefix, "0000-00-00T00:00:00.000000000Z stdout P ", FORMAT_PREFIX);
	date(prefix, seconds / 86400);
	digits(prefix + 11, 2, of_day / 3600);
	digits(prefix + 14, 2, of_day / 60 % 60);
	digits(prefix + 17, 2, of_day % 60);
	digits(prefix + 20, 9, time % 1000000000u);
	if (stream == STDERR)
		memcpy(prefix + 31, "stderr", 6);
}

u64 format_lines(const u8 prefix[FORMAT_PREFIX], const u8 *text, u64 size, u64 *at, u8 *out, u64 room)
{
	u64 done = 0;

	while (*at < size) {
		const u8 *from = text + *at;
		u64 left = size - *at, look = left > FORMAT_SEGMENT ? FORMAT_SEGMENT + 1 : left;
		u64 n = format_first_newline(from, look);
		int full = n < look;

		if (!full && n > FORMAT_SEGMENT)
			n = FORMAT_SEGMENT;
		if (room - done < FORMAT_PREFIX + n + 1)
			break;
		__builtin_memcpy(out + done, prefix, FORMAT_PREFIX);
		out[done + TAG_AT] = full ? 'F' : 'P';
		memcpy(out + done + FORMAT_PREFIX, from, n);
		done += FORMAT_PREFIX + n;
		out[done++] = '\n';
		*at += n + (u64)full;
	}
	return done;
}

static u64 append_text(u8 *out, u64 n, const char *text)
{
	while (*text != 0)
		out[n++] = (u8)*text++;
	return n;
}

static u64 append_number(u8 *out, u64 n, u64 value)
{
	u32 width = 1;

	for (u64 v = value; v >= 10; v /= 10)
		width++;
	digits(out + n, width, value);
	return n + width;
}

u64 format_lost(u8 *out, u64 time, u64 lines, u64 bytes, int error)
{
	u64 n = FORMAT_PREFIX;

	format_prefix(out, time, STDERR);
	out[TAG_AT] = 'F';
	n = append_text(out, n, "podlet: the log could not be written (errno ");
	n = append_number(out, n, (u64)error);
	n = append_text(out, n, "): lost here ");
	n = append_number(out, n, lines);
	n = append_text(out, n, " lines, ");
	n = append_number(out, n, bytes);
	return append_text(out, n, " bytes\n");
}

void format_count(const u8 *out, u64 size, u64 *lines, u64 *bytes)
{
	for (u64 i = 0; i < size;) {
		u64 text = format_first_newline(out + i + FORMAT_PREFIX, size - i - FORMAT_PREFIX);

		*lines += 1;
		*bytes += text + (out[i + TAG_AT] == 'F');
		i += FORMAT_PREFIX + text + 1;
	}
}
