/* e2e.c - a nursery, a pause, its log writer, and processes that write: what is in the log at the end? argv[1] is the binary. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"

static struct pause pod;
static char reply[PROTO_MAX_SIZE];

static void run_to_end(u64 id, const char *shell, const char *log)
{
	struct run r = {.id = id, .shell = shell, .log = log_file(log)};

	close(start(&pod, &r));
	CHECK(wait_exit(&pod, id).status == 0);
}

static void acknowledge(u64 id) { CHECK(ask_id(pod.socket, MSG_ACK, id, -1, reply) == MSG_DONE); }

/* Waits until the log has as many bytes: its writer was late. */
static void wait_for(const char *log, long bytes)
{
	long size = 0;

	for (int i = 0; i < 5000 && size < bytes; i++) {
		usleep(1000);
		free(slurp(log, &size));
	}
	CHECK(size >= bytes);
}

/* Compares a log with lines "stdout F text", the times cut off. */
static void expect(const char *log, const char *want)
{
	long size, n = 0;
	char *have = slurp(log, &size), *cut = malloc((size_t)size + 1);

	for (char *line = have; line < have + size;) {
		char *end = memchr(line, '\n', (size_t)(have + size - line));

		CHECK(end != 0 && end - line >= 40 && line[10] == 'T' && line[29] == 'Z');
		memcpy(cut + n, line + 31, (size_t)(end + 1 - line - 31));
		n += end + 1 - line - 31;
		line = end + 1;
	}
	cut[n] = 0;
	if (strcmp(cut, want) != 0) {
		fprintf(stderr, "%s is\n%swanted\n%s", log, cut, want);
		exit(1);
	}
	free(have);
	free(cut);
}

static void test_lines(void)
{
	run_to_end(1, "echo one; echo two >&2; sleep 0.05; printf thr; sleep 0.05; printf 'ee\\n\\nend'", "lines");
	expect("lines", "stdout F one\nstderr F two\nstdout F three\nstdout F \nstdout P end\n");
	acknowledge(1);
}

static void test_tty(void)
{
	struct run r = {.id = 2, .shell = "echo hello; echo there >&2", .log = log_file("tty"), .tty = 1};

	close(start(&pod, &r));
	wait_exit(&pod, 2);
	expect("tty", "stdout F hello\r\nstdout F there\r\n");
	acknowledge(2);
}

/* A child that lives on is still logged behind its parent's exit. */
static void test_background(void)
{
	struct msg_id m = {{sizeof(m), MSG_LIST, 0}, {0}};
	long size;

	run_to_end(3, "printf part; (read x < " TEST_DIR "/go; echo late) & exit 0", "background");
	expect("background", "stdout P part\n");
	int go = open(TEST_DIR "/go", O_WRONLY);
	close(go);
	do {
		free(slurp("background", &size));
		m.h.size = sizeof(struct msg_header);
		usleep(1000);
	} while (size < 80);
	expect("background", "stdout P part\nstdout F late\n");
	acknowledge(3);
}

static void count(u64 lines, const char *a, const char *b)
{
	u64 next = 0;
	const char *name[2] = {a, b};

	for (int i = 0; i < 2 && name[i]; i++) {
		long size;
		char *text = slurp(name[i], &size);

		for (char *line = text; line < text + size;) {
			char *end;

			CHECK(memcmp(line + 31, "stdout F ", 9) == 0);
			CHECK(strtoul(line + 40, &end, 10) == next++);
			CHECK(*end == '\n');
			line = end + 1;
		}
		free(text);
	}
	if (next != lines)
		fprintf(stderr, "%lu lines of %lu\n", next, lines);
	CHECK(next == lines);
}

/* Rotation and the death of the writer, again and again, while lines flow. */
static void test_rotation_and_kills(void)
{
	struct run r = {.id = 4, .shell = "seq 0 2999999", .log = log_file("rotate0")};
	char name[32], all[128];
	int pidfd = start(&pod, &r), rounds = 0, kills = 0;
	struct pollfd gone = {pidfd, POLLIN, 0};

	while (poll(&gone, 1, 0) == 0) {
		pid_t writer = child_named(pod.pid, "podlet-logger");

		if (writer > 0 && kill(writer, SIGKILL) == 0)
			kills++;
		snprintf(name, sizeof(name), "rotate%d", ++rounds);
		u32 answer = ask_id(pod.socket, MSG_LOG, 4, log_file(name), reply);
		if (answer == MSG_FAILED) {	/* the one before isn't through yet */
			CHECK(((struct msg_failed *)reply)->error == EBUSY);
			rounds--;
		}
	}
	wait_exit(&pod, 4);
	acknowledge(4);
	snprintf(all, sizeof(all), "cd " TEST_DIR "; for i in $(seq 0 %d); do cat rotate$i; rm rotate$i; done > all", rounds);
	/* The last output may still be on its way where a writer was killed. */
	for (int i = 0; i < 500 && child_named(pod.pid, "podlet-logger") == 0; i++)
		usleep(1000);
	usleep(200000);
	CHECK(system(all) == 0);
	count(3000000, "all", 0);
	printf("rotation: %d files, %d writers killed\n", rounds + 1, kills);
}

/* A writer that hangs: exits and all requests go on. */
static void test_hang(void)
{
	run_to_end(5, "echo x", "hang");
	pid_t writer = child_named(pod.pid, "podlet-logger");
	CHECK(writer > 0 && kill(writer, SIGSTOP) == 0);

	struct run flood = {.id = 6, .shell = "yes", .log = log_file("flood")};
	int pidfd = start(&pod, &flood);
	usleep(100000);
	u64 began = now_ns();
	run_to_end(7, "echo y", "hang2");
	acknowledge(7);
	CHECK(ask_id(pod.socket, MSG_LOG, 6, log_file("flood2"), reply) == MSG_DONE);
	u64 took = now_ns() - began;
	CHECK(took < 500000000);
	kill(writer, SIGCONT);
	usleep(50000);
	CHECK(syscall(424, pidfd, SIGKILL, 0, 0) == 0);
	wait_exit(&pod, 6);
	acknowledge(6);
	acknowledge(5);
	wait_for("hang2", 42);
	expect("hang2", "stdout F y\n");
	printf("with a hung writer: exec, exit and LOG in %lu ms\n", took / 1000000);
}

static void test_full_disk(void)
{
	CHECK(mount("tmpfs", TEST_DIR "/small", "tmpfs", 0, "size=1m") == 0);
	run_to_end(8, "seq 0 99999; read x < " TEST_DIR "/go; sleep 1.1; echo again; echo more", "small/log");
}


static void test_taps(void)
{
	struct run r = {.id = 9, .shell = "cat; echo done", .log = log_file("tap"), .pipe_in = 1, .flags = CLONE_STDIN_ONCE};
	struct msg_tap m = {{sizeof(m), MSG_TAP, 0}, {9}, 1, 1};
	int pipes[2], input;
	char text[64];

	close(start(&pod, &r));
	CHECK(pipe2(pipes, O_CLOEXEC) == 0);
	CHECK(ask(pod.socket, &m, &pipes[1], 1, reply, &input) == MSG_TAPPED);
	close(pipes[1]);
	CHECK(input >= 0 && write(input, "typed\n", 6) == 6);
	CHECK(read(pipes[0], text, sizeof(text)) == 6 && memcmp(text, "typed\n", 6) == 0);
	close(input);
	close(pipes[0]);	/* the client leaves; stdin ends with it */
	wait_exit(&pod, 9);
	expect("tap", "stdout F typed\nstdout F done\n");
	acknowledge(9);
}

static void test_speed(void)
{
	long size;
	u64 began = now_ns(), took;

	run_to_end(10, "yes 123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789 | head -c 1000000000", "speed");
	took = now_ns() - began;
	acknowledge(10);
	free(slurp("speed", &size));
	CHECK(size == 1400000000);
	unlink(TEST_DIR "/speed");
	printf("1 GB in lines of 100 bytes: %lu MB/s\n", 1000000000ul / (took / 1000));
}

static void show(const char *what, pid_t pid)
{
	char line[256];
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/smaps_rollup", pid);
	f = fopen(line, "r");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "Pss:", 4) == 0)
			printf("%s: %s", what, line);
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	setvbuf(stdout, 0, _IOLBF, 0);
	enter_namespace();
	CHECK(mkfifo(TEST_DIR "/go", 0600) == 0);
	struct nursery n = nursery_start(argv[1]);
	pod = pause_start(&n, "pod", 0, 0, 0);
	show("idle pause", pod.pid);
	test_lines();
	show("pause that logged", pod.pid);
	test_tty();
	test_background();
	test_taps();
	test_hang();
	test_rotation_and_kills();
	test_speed();
	show("pause that logged a lot", pod.pid);
	(void)test_full_disk;
	return 0;
}
