/* unit_format.c - tests of the form that output has in a log. */
#include "../format.h"
#include "../memory.h"
#include "../process.h"
#include "unit.h"

static u8 text[200000], formatted[400000];

/* Formats n bytes as a record, with as little room at a time as is allowed, and compares what stands behind the time. */
static void formats(const char *in, u64 n, const char *want)
{
	u8 prefix[FORMAT_PREFIX];
	u64 at = 0, size = 0, k = 0, lines = 0, bytes = 0;

	format_prefix(prefix, 1795532645123456789ul, STDERR);
	while (at < n)
		size += format_lines(prefix, (const u8 *)in, n, &at, formatted + size, FORMAT_LINE);
	CHECK(at == n);
	for (u64 i = 0; i < size;) {
		CHECK(memcmp(formatted + i, "2026-11-24T15:04:05.123456789Z stderr ", 38) == 0);
		for (i += 38; k < size && formatted[i] != '\n'; i++, k++)
			CHECK((char)formatted[i] == want[k]);
		i++;
		CHECK(want[k++] == '\n');
	}
	CHECK(want[k] == 0);
	format_count(formatted, size, &lines, &bytes);
	CHECK(bytes == n);
}

void test_format(void)
{
	u8 prefix[FORMAT_PREFIX];
	u64 at, n;

	formats("one\n", 4, "F one\n");
	formats("one\ntwo\n", 8, "F one\nF two\n");
	formats("one\ntwo", 7, "F one\nP two\n");
	formats("\n\n", 2, "F \nF \n");
	formats("a\r\n", 3, "F a\r\n");
	formats("\r", 1, "P \r\n");
	formats("12345678\n123456789012345\n1\n", 27, "F 12345678\nF 123456789012345\nF 1\n");
	format_prefix(prefix, 951782399999999999ul, STDOUT);
	CHECK(memcmp(prefix, "2000-02-28T23:59:59.999999999Z stdout P ", 40) == 0);
	format_prefix(prefix, 951782400000000001ul, STDOUT);
	CHECK(memcmp(prefix, "2000-02-29T00:00:00.000000001Z stdout P ", 40) == 0);
	format_prefix(prefix, 0, STDOUT);
	CHECK(memcmp(prefix, "1970-01-01T00:00:00.000000000Z stdout P ", 40) == 0);
	format_prefix(prefix, 4107542399000000000ul, STDERR);
	CHECK(memcmp(prefix, "2100-02-28T23:59:59.000000000Z stderr P ", 40) == 0);

	/* Lines of about a segment. */
	memset(text, 'x', sizeof(text));
	for (u64 length = FORMAT_SEGMENT - 2; length <= FORMAT_SEGMENT + 2; length++) {
		text[length] = '\n';
		at = 0;
		n = format_lines(prefix, text, length + 1, &at, formatted, sizeof(formatted));
		CHECK(at == length + 1);
		if (length <= FORMAT_SEGMENT) {
			CHECK(n == FORMAT_PREFIX + length + 1 && formatted[38] == 'F');
		} else {
			CHECK(n == FORMAT_PREFIX * 2 + length + 2 && formatted[38] == 'P' && formatted[FORMAT_LINE - 1] == '\n');
			CHECK(formatted[FORMAT_LINE + 38] == 'F');
		}
		text[length] = 'x';
	}
	at = 0;
	n = format_lines(prefix, text, 3 * FORMAT_SEGMENT, &at, formatted, sizeof(formatted));
	CHECK(n == 3 * FORMAT_LINE && formatted[2 * FORMAT_LINE + 38] == 'P');
	/* NULs and every other byte. */
	for (u64 i = 0; i < 256; i++)
		text[i] = (u8)i;
	at = 0;
	n = format_lines(prefix, text, 256, &at, formatted, sizeof(formatted));
	CHECK(n == 2 * FORMAT_PREFIX + 257 && formatted[40] == 0 && formatted[38] == 'F');
	CHECK(formatted[n - 2] == 255 && formatted[FORMAT_PREFIX + 11 + 38] == 'P');
}

void test_newlines(void)
{
	/* Every place at every length, and bytes that are nearly a newline: 0x0b and 0x8a are what the word trick could take for one. */
	for (u64 n = 0; n < 40; n++)
		for (u64 at = 0; at <= n; at++) {
			memset(text, n & 1 ? 0x0b : 0x8a, n);
			if (at < n)
				text[at] = '\n';
			CHECK(format_first_newline(text, n) == at);
			CHECK(format_behind_newline(text, n) == (at < n ? at + 1 : 0));
		}
	memset(text, 'x', sizeof(text));
	CHECK(format_unfinished(text, 10, 10) == 10);
	CHECK(format_unfinished(text, 10, FORMAT_SEGMENT) == FORMAT_SEGMENT);
	CHECK(format_unfinished(text, 10, FORMAT_SEGMENT + 1) == 1);
	CHECK(format_unfinished(text, 10, 3 * FORMAT_SEGMENT) == FORMAT_SEGMENT);
	text[4] = '\n';
	CHECK(format_unfinished(text, 10, FORMAT_SEGMENT + 3) == 5);
	text[9] = '\n';
	CHECK(format_unfinished(text, 10, 10) == 0);
}
