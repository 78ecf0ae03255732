/* client.c - a small podlet for the tests. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

static struct msg_process exits[64];
static u32 nexits;
static u64 seq;

void fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, strerror(errno));
	_exit(1);
}

u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

void enter_namespace(void)
{
	int status;
	pid_t pid;

	/* Whatever happens, the PID namespace takes all processes of the test along, and the mount namespace its files. */
	CHECK(unshare(CLONE_NEWPID | CLONE_NEWNS) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid > 0) {
		CHECK(waitpid(pid, &status, 0) == pid);
		exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK(mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) == 0);
	CHECK(mount("tmpfs", TEST_DIR, "tmpfs", 0, "size=4g") == 0);
	CHECK(mount("proc", "/proc", "proc", 0, 0) == 0);
	struct sigaction kill_all = {.sa_handler = _exit};
	sigaction(SIGALRM, &kill_all, 0);
	alarm(600);
}

struct nursery nursery_start(int binary)
{
	char title[128];
	int ends[2];
	struct nursery n;

	memset(title, 'x', sizeof(title) - 1);
	title[sizeof(title) - 1] = 0;
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	n.socket = ends[0];
	n.pid = fork();
	CHECK(n.pid >= 0);
	if (n.pid == 0) {
		if (ends[1] == 3)
			fcntl(3, F_SETFD, 0);
		else
			dup2(ends[1], 3);
		fexecve(binary, (char *[]){title, "nursery", 0}, (char *[]){0});
		_exit(127);
	}
	close(ends[1]);
	return n;
}

static void send_all(int socket, void *m, const int *fds, int n)
{
	struct msg_header *h = m;
	struct iovec iov = {m, h->size};
	char control[CMSG_SPACE(sizeof(int) * 64)];
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	memset(control, 0, sizeof(control));
	if (n > 0) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)n);
	}
	CHECK(sendmsg(socket, &msg, MSG_NOSIGNAL) == (ssize_t)h->size);
}

static u32 receive(int socket, void *reply, int *fd)
{
	struct msg_header *h = reply;
	struct iovec iov = {reply, PROTO_MAX_SIZE};
	char control[CMSG_SPACE(sizeof(int))];
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c;

	CHECK(recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) >= (ssize_t)sizeof(*h));
	c = CMSG_FIRSTHDR(&msg);
	*fd = -1;
	if (c != 0)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return h->type;
}

u32 ask(int socket, void *m, const int *fds, int n, void *reply, int *fd)
{
	struct msg_header *h = m;
	u32 type;

	h->seq = ++seq;
	send_all(socket, m, fds, n);
	while ((type = receive(socket, reply, fd)) == MSG_EXITED) {
		CHECK(nexits < 64);
		memcpy(&exits[nexits++], reply, sizeof(exits[0]));
	}
	CHECK(((struct msg_header *)reply)->seq == h->seq);
	return type;
}

u32 ask_id(int socket, u32 type, u64 id, int fd, void *reply)
{
	struct msg_id m = {{sizeof(m), type, 0}, {id}};
	int got;
	u32 answer = ask(socket, &m, &fd, fd >= 0, reply, &got);

	if (fd >= 0)
		close(fd);
	if (got >= 0)
		close(got);
	return answer;
}

/* The assembler of the tests: steps with immediates, strings and fds. */
struct assembler {
	struct tape_step steps[16];
	struct tape_reloc relocs[16];
	u8 data[16384];
	u32 nsteps, nrelocs, size;
};

static u32 put(struct assembler *a, const void *p, u32 n)
{
	u32 at = a->size;

	CHECK(at + n + 8 <= sizeof(a->data));
	if (p)
		memcpy(a->data + at, p, n);
	a->size = (at + n + 7) & ~7u;
	return at;
}

static struct tape_step *step(struct assembler *a, int nr)
{
	struct tape_step *s = &a->steps[a->nsteps++];

	s->nr = (u16)nr;
	s->dst = TAPE_NO_REGISTER;
	return s;
}

static void argument(struct tape_step *s, u32 k, u8 kind, u64 value)
{
	s->kind[k] = kind;
	s->arg[k] = value;
}

static int finish(struct assembler *a, u32 nfds)
{
	struct tape_header h = {TAPE_MAGIC, TAPE_VERSION, ARCH, 0, sizeof(h), a->nsteps, 0, a->nrelocs, 0, 0, nfds, 0};
	int fd = memfd_create("tape", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	put(a, "", 1);
	h.relocs_off = h.steps_off + a->nsteps * (u32)sizeof(a->steps[0]);
	h.data_off = h.relocs_off + a->nrelocs * (u32)sizeof(a->relocs[0]);
	h.data_size = a->size;
	h.size = h.data_off + a->size;
	CHECK(fd >= 0);
	CHECK(write(fd, &h, sizeof(h)) == sizeof(h));
	CHECK(write(fd, a->steps, a->nsteps * sizeof(a->steps[0])) >= 0);
	CHECK(write(fd, a->relocs, a->nrelocs * sizeof(a->relocs[0])) >= 0);
	CHECK(write(fd, a->data, a->size) == (ssize_t)a->size);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
	return fd;
}

static void exec_shell(struct assembler *a, const char *script)
{
	const char *arg[3] = {"/bin/sh", "-c", script};
	u32 at[3], argv;
	struct tape_step *s;

	for (int i = 0; i < 3; i++)
		at[i] = put(a, arg[i], (u32)strlen(arg[i]) + 1);
	argv = put(a, 0, 32);
	for (u32 i = 0; i < 3; i++)
		a->relocs[a->nrelocs++] = (struct tape_reloc){argv + i * 8, TAPE_RELOC_DATA, at[i]};
	s = step(a, SYS_execve);
	argument(s, 0, TAPE_ARG_STR, at[0]);
	argument(s, 1, TAPE_ARG_BUF, argv);
	argument(s, 2, TAPE_ARG_BUF, argv + 24);
}

static struct msg_clone clone_message(u64 id, u32 kind, u64 clone_flags)
{
	struct msg_clone m = {{sizeof(m), MSG_CLONE, 0}, {id}, clone_flags, kind};

	m.cgroup_fd = m.listen_fd = m.gate_fd = m.stdout_fd = m.stderr_fd = m.stdin_fd = m.log_fd = PROTO_NO_FD;
	return m;
}

int pause_connect(const char *name)
{
	struct sockaddr_un where = {AF_UNIX, ""};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(where.sun_path, sizeof(where.sun_path), TEST_DIR "/%s.sock", name);
	CHECK(fd >= 0 && connect(fd, (void *)&where, sizeof(where)) == 0);
	return fd;
}

struct pause pause_start(struct nursery *n, const char *name, u64 clone_flags, const int *cgroups, u32 ncgroups)
{
	struct sockaddr_un where = {AF_UNIX, ""};
	struct msg_clone m = clone_message((u64)name[0] << 8 | (u64)name[1], CLONE_PAUSE, clone_flags);
	struct assembler a = {0};
	char reply[PROTO_MAX_SIZE];
	int fds[34], got;
	struct pause p;

	snprintf(where.sun_path, sizeof(where.sun_path), TEST_DIR "/%s.sock", name);
	snprintf(m.name, sizeof(m.name), "%s", name);
	p.listen = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CHECK(p.listen >= 0 && bind(p.listen, (void *)&where, sizeof(where)) == 0 && listen(p.listen, 8) == 0);
	m.listen_fd = 0;
	m.tape_fds = 1;
	m.writer_cgroup_fds = ncgroups;
	fds[0] = p.listen;
	fds[1] = finish(&a, 0);
	memcpy(&fds[2], cgroups, ncgroups * sizeof(int));
	CHECK(ask(n->socket, &m, fds, 2 + (int)ncgroups, reply, &p.pidfd) == MSG_CLONED);
	p.pid = ((struct msg_cloned *)reply)->pid;
	close(fds[1]);
	p.socket = pause_connect(name);
	struct msg_hello hello = {{sizeof(hello), MSG_HELLO, 0}, PROTO_VERSION, 0};
	CHECK(ask(p.socket, &hello, 0, 0, reply, &got) == MSG_WELCOME);
	close(got);
	return p;
}

static void dup_to(struct assembler *a, u64 index, u64 to)
{
	struct tape_step *s = step(a, SYS_dup3);

	argument(s, 0, TAPE_ARG_FD, index);
	argument(s, 1, TAPE_ARG_IMM, to);
}

int start(struct pause *p, struct run *r)
{
	struct msg_clone m = clone_message(r->id, CLONE_EXEC, 0);
	struct assembler a = {0};
	char reply[PROTO_MAX_SIZE];
	int fds[16], n = 0, out[2] = {-1, -1}, err[2] = {-1, -1}, in[2] = {-1, -1}, pidfd;

	m.flags = r->flags;
	if (r->tty) {
		int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

		CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
		out[0] = master;
		out[1] = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
		err[1] = dup(out[1]);
		in[0] = dup(out[1]);
		m.flags |= CLONE_LOG_TTY;
	} else {
		CHECK(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
		m.stderr_fd = (u32)n;
		fds[n++] = err[0];
		if (r->pipe_in) {
			CHECK(pipe2(in, O_CLOEXEC) == 0);
			m.stdin_fd = (u32)n;
			fds[n++] = in[1];
		} else {
			in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		}
	}
	m.stdout_fd = (u32)n;
	fds[n++] = out[0];
	if (r->log >= 0) {
		m.log_fd = (u32)n;
		fds[n++] = r->log;
	}
	m.tape_fds = (u32)n++;
	fds[n++] = in[0];
	fds[n++] = out[1];
	fds[n++] = err[1];
	for (u32 i = 0; i < 3; i++)
		dup_to(&a, i, i);
	exec_shell(&a, r->shell);
	fds[m.tape_fds] = finish(&a, 3);
	CHECK(ask(p->socket, &m, fds, n, reply, &pidfd) == MSG_CLONED);
	for (int i = 0; i < n; i++)
		close(fds[i]);
	return pidfd;
}

struct msg_process wait_exit(struct pause *p, u64 id)
{
	struct msg_process m;
	char reply[PROTO_MAX_SIZE];
	int fd;

	for (;;) {
		for (u32 i = 0; i < nexits; i++)
			if (exits[i].id[0] == id) {
				m = exits[i];
				exits[i] = exits[--nexits];
				return m;
			}
		CHECK(receive(p->socket, reply, &fd) == MSG_EXITED);
		CHECK(nexits < 64);
		memcpy(&exits[nexits++], reply, sizeof(exits[0]));
	}
}

int log_file(const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), TEST_DIR "/%s", name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	return fd;
}

char *slurp(const char *name, long *size)
{
	char path[256], *text;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), TEST_DIR "/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	text = malloc((size_t)st.st_size + 1);
	*size = 0;
	while (*size < st.st_size) {
		ssize_t n = read(fd, text + *size, (size_t)(st.st_size - *size));

		CHECK(n > 0);
		*size += n;
	}
	text[*size] = 0;
	close(fd);
	return text;
}

pid_t child_named(pid_t parent, const char *name)
{
	struct dirent *e;
	DIR *d = opendir("/proc");
	pid_t found = 0;

	while ((e = readdir(d)) != 0 && found == 0) {
		char path[300], line[512], comm[64];
		int pid, ppid;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		if (e->d_name[0] < '0' || e->d_name[0] > '9' || (f = fopen(path, "r")) == 0)
			continue;
		if (fgets(line, sizeof(line), f) && sscanf(line, "%d (%63[^)]) %*c %d", &pid, comm, &ppid) == 3)
			if (ppid == parent && strcmp(comm, name) == 0)
				found = pid;
		fclose(f);
	}
	closedir(d);
	return found;
}
