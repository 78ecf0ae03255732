/* client.h - a small podlet for the tests: starts a nursery and a pause, and speaks the protocol. libc, not freestanding. */
#ifndef PODLET_TEST_CLIENT_H
#define PODLET_TEST_CLIENT_H

#include <sys/types.h>

#include "../proto.h"
#include "../tape.h"

#define CHECK(what) ((what) ? (void)0 : fail(__FILE__, __LINE__, #what))

void __attribute__((noreturn)) fail(const char *file, int line, const char *what);

/* A directory of the test's own on a tmpfs in a mount namespace of its own; gone with the process. */
#define TEST_DIR "/tmp"

struct nursery {
	int socket;
	pid_t pid;
};

struct pause {
	int socket, listen, pidfd;
	pid_t pid;
};

/* What one process is asked to be. */
struct run {
	u64 id;
	const char *shell;	/* for sh -c */
	int log;		/* -1: none; closed by start */
	int tty, pipe_in;	/* flags: a TTY; a pipe for stdin, else /dev/null */
	u32 flags;
};

void enter_namespace(void);	/* also ends the whole test by SIGALRM after two minutes */
struct nursery nursery_start(int binary);	/* an fd: the path may be hidden by the namespace's /tmp */
struct pause pause_start(struct nursery *n, const char *name, u64 clone_flags, const int *cgroups, u32 ncgroups);
int pause_connect(const char *name);

/*
 * ask sends m with fds and returns the type of the answer, which goes to reply (512 bytes); *fd is the fd that came or
 * -1. EXITED messages in between are kept.
 */
u32 ask(int socket, void *m, const int *fds, int n, void *reply, int *fd);
u32 ask_id(int socket, u32 type, u64 id, int fd, void *reply);	/* closes fd */

/* start runs r->shell under pause. Returns the pidfd. */
int start(struct pause *p, struct run *r);

/* wait_exit waits for the EXITED of id and returns the message. */
struct msg_process wait_exit(struct pause *p, u64 id);

int log_file(const char *name);
char *slurp(const char *name, long *size);
pid_t child_named(pid_t parent, const char *name);	/* 0: none */
u64 now_ns(void);

#endif
