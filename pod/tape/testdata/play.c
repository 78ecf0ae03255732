/* play.c - plays the tape on stdin, which comes with no fds, and prints step and errno of its end. */
#include <stdio.h>
#include <stdlib.h>
#include "tape.h"

int main(void)
{
	static _Alignas(8) u8 base[1 << 16];
	struct tape_status status = {0};
	struct tape t;
	u64 size = fread(base, 1, sizeof(base), stdin);

	if (tape_validate(&t, base, size, 0) != 0)
		return 1;
	tape_play(&t, 0, &status);
	printf("%u %d\n", status.step, status.error);
	return 0;
}
