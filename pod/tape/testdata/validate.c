/* validate.c - reads tapes from stdin, each behind its size and its number of fds (u32), and prints a line each: 1 if pause would play it. */
#include <stdio.h>
#include <stdlib.h>
#include "tape.h"

int main(void)
{
	u32 head[2];

	while (fread(head, sizeof(head), 1, stdin) == 1) {
		struct tape t;
		void *base = aligned_alloc(8, (head[0] + 15u) & ~7u);

		if (base == 0 || fread(base, 1, head[0], stdin) != head[0])
			return 1;
		printf("%d\n", tape_validate(&t, base, head[0], head[1]) == 0);
		free(base);
	}
	return 0;
}
