/*
 * unit.c - tests of pause's parts, each on its own and in a file of its own, in the hosted build under ASan and UBSan. Freestanding headers: the few
 * functions of libc are declared where they are used.
 */
#include "unit.h"

int printf(const char *format, ...);
void exit(int code) __attribute__((noreturn));

const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

void fail(const char *file, int line, const char *what)
{
	printf("%s:%d: %s\n", file, line, what);
	exit(1);
}

int main(void)
{
	test_validate();
	test_play();
	test_decode();
	test_clone_check();
	test_format();
	test_newlines();
	test_memory();
	test_ring();
	test_writer();
	printf("unit: ok\n");
	return 0;
}
