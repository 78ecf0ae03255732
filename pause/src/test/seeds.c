/* seeds.c - writes the fuzzers' first inputs: seeds tape|message DIR. */
#include <fcntl.h>
#include <linux/audit.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../proto.h"
#include "../tape.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

static const char *dir;

static void save(const char *name, const void *p, size_t n)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, p, n) != (ssize_t)n)
		perror(path);
	close(fd);
}

static void tapes(void)
{
	struct {
		struct tape_header h;
		struct tape_step steps[6];
		struct tape_reloc relocs[3];
		u8 data[64];
	} t = {
		{TAPE_MAGIC, TAPE_VERSION, ARCH, sizeof(t), sizeof(t.h), 6, sizeof(t.h) + sizeof(t.steps), 3,
		 sizeof(t.h) + sizeof(t.steps) + sizeof(t.relocs), sizeof(t.data), 2, 0},
		{
			{SYS_openat, 0, TAPE_STEP_SKIP, {0, TAPE_ARG_STR}, 1, {0}, {2}, {0, 32}},
			{SYS_dup3, 1, 0, {TAPE_ARG_FD, TAPE_ARG_REG}, 0, {0}, {0}, {1, 0}},
			{SYS_write, TAPE_NO_REGISTER, TAPE_STEP_POSITIVE, {TAPE_ARG_FD, TAPE_ARG_BUF}, 0, {0}, {0}, {0, 8ul << 32 | 16}},
			{SYS_clone3, TAPE_NO_REGISTER, TAPE_STEP_FORK, {TAPE_ARG_BUF}, 0, {0}, {0}, {24ul << 32}},
			{SYS_execve, TAPE_NO_REGISTER, TAPE_STEP_TRY, {TAPE_ARG_STR}, 0, {0}, {2, 13}, {32}},
			{SYS_execve, TAPE_NO_REGISTER, TAPE_STEP_TRY, {TAPE_ARG_STR}, 0, {0}, {2, 13}, {36}},
		},
		{{0, TAPE_RELOC_DATA, 32}, {8, TAPE_RELOC_FD, 1}, {16, TAPE_RELOC_FD64, 0}},
		{0},
	};
	struct tape_header empty = {TAPE_MAGIC, TAPE_VERSION, ARCH, sizeof(empty), sizeof(empty), 0, sizeof(empty), 0, sizeof(empty), 0, 0, 0};

	memcpy(t.data + 32, "/bin/true", 10);
	save("six-steps", &t, sizeof(t));
	save("empty", &empty, sizeof(empty));
}

static void message(const char *name, void *m, u16 nfds)
{
	u8 out[2 + PROTO_MAX_SIZE];
	struct msg_header *h = m;

	memcpy(out, &nfds, 2);
	memcpy(out + 2, m, h->size);
	save(name, out, 2u + h->size);
}

static void messages(void)
{
	struct msg_clone c = {{sizeof(c), MSG_CLONE, 1}, {1}, 0, CLONE_EXEC};
	struct msg_hello hello = {{sizeof(hello), MSG_HELLO, 1}, PROTO_VERSION, 0};
	struct msg_id id = {{sizeof(id), MSG_LOG, 2}, {1}};
	struct msg_tap tap = {{sizeof(tap), MSG_TAP, 3}, {1}, 1, 3};
	struct msg_writer writer = {{sizeof(writer), MSG_WRITER_CGROUPS, 4}, 1, 0};

	message("hello", &hello, 0);
	message("log", &id, 1);
	message("tap", &tap, 2);
	message("writer", &writer, 2);
	c.cgroup_fd = c.listen_fd = c.gate_fd = c.stdin_fd = PROTO_NO_FD;
	c.stdout_fd = 0;
	c.stderr_fd = 1;
	c.log_fd = 2;
	c.tape_fds = 3;
	message("exec", &c, 9);
	c.kind = CLONE_PAUSE;
	c.stdout_fd = c.stderr_fd = c.log_fd = PROTO_NO_FD;
	c.listen_fd = 0;
	c.tape_fds = 1;
	c.writer_cgroup_fds = 2;
	memcpy(c.name, "pod", 4);
	message("pause", &c, 8);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	dir = argv[2];
	if (strcmp(argv[1], "tape") == 0)
		tapes();
	else
		messages();
	return 0;
}
