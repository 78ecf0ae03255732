/*
 * main.c - podlet-pause: the small process beside podlet.
 *
 * podlet starts the nursery; every other role is a child of it by way of CLONE (proto.h). Where to read on:
 *
 *	pause.c		the roles		server.c watch.c	the event loop	launch.c	CLONE
 *	tape.c play.c	the tape		message.c conn.c answer.c	the protocol
 *	process.c reap.c	the table		init.c	PID 1 of a shared PID namespace
 *	output.c tap.c	what containers write	log.c ring.c writer.c format.c	its way into the log
 *	logfile.c	changes of the file	logwriter.c	the writer's life	tick.c	those who wait for it
 */
#include "memory.h"
#include "pause.h"
#include "title.h"

#define NURSERY_FD 3

static int podlet_main(int argc, char **argv)
{
	title_init(argc, argv);
	if (argc == 2 && memcmp(argv[1], "nursery", sizeof("nursery")) == 0)
		nursery_main(NURSERY_FD);
	return 2;
}

#ifdef HOSTED
/* A report must be as loud as a crash, wherever stderr goes. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void) { return "abort_on_error=1:detect_leaks=0:allocator_may_return_null=1"; }
const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }

int main(int argc, char **argv) { return podlet_main(argc, argv); }
#else
ARCH_START;

void __attribute__((noreturn, used)) entry(long *stack);

void entry(long *stack)
{
	sys_exit(podlet_main((int)stack[0], (char **)&stack[1]));
}
#endif
