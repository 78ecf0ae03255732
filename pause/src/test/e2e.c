/* e2e.c - a nursery, a pause, its log writer, and processes that write: what is in the log at the end? e2e BINARY [MB of the speed test] */
#define _GNU_SOURCE
#include <dirent.h>
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
	struct stat st = {0};
	char path[256];

	snprintf(path, sizeof(path), TEST_DIR "/%s", log);
	for (int i = 0; i < 20000 && st.st_size < bytes; i++) {
		CHECK(stat(path, &st) == 0);
		usleep(st.st_size < bytes ? 1000 : 0);
	}
	CHECK(st.st_size >= bytes);
}

/* Compares a log with lines "stdout F text", the times cut off. */
static void expect(const char *log, const char *want)
{
	long size = 0, n = 0;
	char *have, *cut;

	/* On a busy machine EXITED may be there first. */
	for (const char *c = want; *c; c++)
		size += *c == '\n' ? 32 : 1;
	wait_for(log, size);
	have = slurp(log, &size);
	cut = malloc((size_t)size + 1);

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
	run_to_end(3, "printf part; (read x < " TEST_DIR "/go; echo late) & exit 0", "background");
	expect("background", "stdout P part\n");
	int go = open(TEST_DIR "/go", O_WRONLY);
	close(go);
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

#define LAST_LINE "999999"
#define ALL_BYTES 46888890	/* of its log */

/* Rotation and the death of the writer, again and again, while lines flow. */
static void test_rotation_and_kills(void)
{
	struct run r = {.id = 4, .shell = "seq 0 " LAST_LINE, .log = log_file("rotate0")};
	char name[32], all[128];
	int pidfd = start(&pod, &r), rounds = 0, kills = 0, waits = 0;
	long size;
	struct pollfd gone = {pidfd, POLLIN, 0};

	while (poll(&gone, 1, 1) == 0) {
		pid_t writer = child_named(pod.pid, "podlet-logger");

		if (writer > 0 && kill(writer, SIGKILL) == 0)
			kills++;
		snprintf(name, sizeof(name), "rotate%d", ++rounds);
		/* In one step and in two, in turns. */
		u32 answer = ask_id(pod.socket, rounds & 1 ? MSG_LOG : MSG_LOG_READY, 4, log_file(name), reply);
		/* On a busy machine the turn may come too late, and the file stays empty. */
		if (answer == MSG_DONE && !(rounds & 1) && ask_id(pod.socket, MSG_LOG_TURN, 4, -1, reply) != MSG_DONE)
			CHECK(((struct msg_failed *)reply)->error == ENOENT);
		if (answer == MSG_FAILED) {	/* the one before isn't through yet */
			CHECK(((struct msg_failed *)reply)->error == EBUSY);
			rounds--;
		}
	}
	wait_exit(&pod, 4);
	acknowledge(4);
	snprintf(all, sizeof(all), "cd " TEST_DIR "; for i in $(seq 0 %d); do cat rotate$i; done > all", rounds);
	/* The last output is still on its way where a writer was killed, and its successor waits its 100 ms. */
	do {
		CHECK(system(all) == 0);
		free(slurp("all", &size));
		usleep(10000);
	} while (size < ALL_BYTES && ++waits < 1000);
	count(strtoul(LAST_LINE, 0, 10) + 1, "all", 0);
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
	/* More than its pipe holds: the flood has left room for others. */
	run_to_end(7, "seq 10000 29999", "hang2");
	acknowledge(7);
	CHECK(ask_id(pod.socket, MSG_LOG, 6, log_file("flood2"), reply) == MSG_DONE);
	u64 took = now_ns() - began;
	kill(writer, SIGCONT);
	usleep(50000);
	CHECK(syscall(424, pidfd, SIGKILL, 0, 0) == 0);
	wait_exit(&pod, 6);
	acknowledge(6);
	acknowledge(5);
	wait_for("hang2", 20000 * 46);
	printf("with a hung writer: exec, exit and LOG in %lu ms\n", took / 1000000);
}

/* A full disk stops nobody; the next file works and tells of the gap. */
static void test_full_disk(void)
{
	struct run r = {.id = 8, .shell = "seq 0 99999; read x < " TEST_DIR "/go; echo again; read x < " TEST_DIR "/go"};
	struct msg_process end;
	u64 lines = 0;
	long size;

	CHECK(mkdir(TEST_DIR "/small", 0700) == 0);
	CHECK(mount("tmpfs", TEST_DIR "/small", "tmpfs", 0, "size=1m") == 0);
	r.log = log_file("small/log");
	close(start(&pod, &r));
	int go = open(TEST_DIR "/go", O_WRONLY);	/* seq is through */
	CHECK(ask_id(pod.socket, MSG_LOG, 8, log_file("full"), reply) == MSG_DONE);
	close(go);
	wait_for("full", 40 + 60 + 46);	/* the gap and what follows it: the writer is through with the old file */
	close(open(TEST_DIR "/go", O_WRONLY));
	end = wait_exit(&pod, 8);
	acknowledge(8);
	char *text = slurp("small/log", &size);
	CHECK(size > 900000 && text[size - 1] == '\n');
	for (char *line = text; line < text + size; line = strchr(line, '\n') + 1)
		CHECK(strtoul(line + 40, 0, 10) == lines++);
	CHECK(end.dropped_lines > 0 && end.dropped_bytes > 0);
	free(text);
	text = slurp("full", &size);
	/* Where the writer was behind, the new file has some of them too; it has the gap and "again" in any case. */
	for (char *line = text; line < text + size; line = strchr(line, '\n') + 1)
		lines++;
	CHECK(lines - 2 + end.dropped_lines == 100000);
	CHECK(strstr(text, " stderr F podlet: the log could not be written (errno 28): lost here ") && strstr(text, " stdout F again\n"));
	free(text);
	CHECK(umount(TEST_DIR "/small") == 0);	/* and nobody holds the old file */
}

/* A line longer than a segment, written in pieces. */
static void test_long_line(void)
{
	long size;

	run_to_end(11, "head -c 10000 /dev/zero | tr '\\0' x; sleep 0.02; head -c 30000 /dev/zero | tr '\\0' y; echo", "long");
	acknowledge(11);
	wait_for("long", 40000 + 3 * 41);
	char *text = slurp("long", &size);
	CHECK(size == 40000 + 3 * 41);
	CHECK(text[38] == 'P' && text[16384 + 41 + 38] == 'P' && text[2 * (16384 + 41) + 38] == 'F');
	free(text);
}

/* Logging stops and starts. */
static void test_stop_logging(void)
{
	struct run r = {
		.id = 12,
		.shell = "printf 'one\\ntw'; read x < " TEST_DIR "/go; echo no; read x < " TEST_DIR "/go2; echo three",
		.log = log_file("stop"),
	};

	close(start(&pod, &r));
	int go = open(TEST_DIR "/go", O_WRONLY);
	CHECK(ask_id(pod.socket, MSG_LOG, 12, -1, reply) == MSG_DONE);
	close(go);
	go = open(TEST_DIR "/go2", O_WRONLY);	/* another one, which nobody opens before "no" is said */
	CHECK(ask_id(pod.socket, MSG_LOG, 12, log_file("stop2"), reply) == MSG_DONE);
	close(go);
	wait_exit(&pod, 12);
	acknowledge(12);
	expect("stop", "stdout F one\nstdout P tw\n");
	expect("stop2", "stdout F three\n");
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
	close(pipes[0]);	/* the client leaves, or podlet died: stdin stays */
	CHECK(pipe2(pipes, O_CLOEXEC) == 0);
	CHECK(ask(pod.socket, &m, &pipes[1], 1, reply, &input) == MSG_TAPPED);
	close(pipes[1]);
	CHECK(input >= 0 && write(input, "again\n", 6) == 6);
	CHECK(read(pipes[0], text, sizeof(text)) == 6 && memcmp(text, "again\n", 6) == 0);
	close(input);
	close(pipes[0]);
	CHECK(ask_id(pod.socket, MSG_CLOSE_STDIN, 9, -1, reply) == MSG_DONE);
	wait_exit(&pod, 9);
	expect("tap", "stdout F typed\nstdout F again\nstdout F done\n");
	acknowledge(9);
}

/* A client that doesn't read loses its copy; the process, its log and the next client don't care. */
static void test_full_tap(void)
{
	struct run r = {.id = 13, .shell = "read x; seq 0 299999; read x", .log = log_file("slow"), .pipe_in = 1};
	struct msg_tap slow = {{sizeof(slow), MSG_TAP, 0}, {13}, 1, 1}, next = {{sizeof(next), MSG_TAP, 0}, {13}, 0, 3};
	char text[65536];
	int a[2], b[2], c[2], input, none;
	long n, sum = 0;

	close(start(&pod, &r));
	CHECK(pipe2(a, O_CLOEXEC) == 0 && pipe2(b, O_CLOEXEC) == 0 && pipe2(c, O_CLOEXEC) == 0);
	CHECK(ask(pod.socket, &slow, &a[1], 1, reply, &input) == MSG_TAPPED && input >= 0);
	close(a[1]);
	CHECK(write(input, "\n", 1) == 1);
	wait_for("slow", 300000 * 41 + 1688890);
	while ((n = read(a[0], text, sizeof(text))) > 0)
		sum += n;
	CHECK(n == 0 && sum > 0 && sum < 1988890);
	CHECK(ask(pod.socket, &next, (int[]){b[1], c[1]}, 2, reply, &none) == MSG_TAPPED && none < 0);
	close(b[1]);
	close(c[1]);
	CHECK(write(input, "\n", 1) == 1);
	wait_exit(&pod, 13);
	CHECK(read(b[0], text, 1) == 0 && read(c[0], text, 1) == 0);
	close(a[0]);
	close(b[0]);
	close(c[0]);
	close(input);
	acknowledge(13);
}

/* Bad requests are refused, and cost nothing. */
static void test_refusals(void)
{
	struct run r = {.id = 14, .shell = "cat", .log = -1, .pipe_in = 1};
	struct msg_tap m = {{sizeof(m), MSG_TAP, 0}, {14}, 0, 3};
	int file = log_file("unused"), none;

	close(start(&pod, &r));
	CHECK(ask(pod.socket, &m, &file, 1, reply, &none) == MSG_FAILED && ((struct msg_failed *)reply)->error == EINVAL);
	m.streams = 4;
	CHECK(ask(pod.socket, &m, 0, 0, reply, &none) == MSG_FAILED && ((struct msg_failed *)reply)->error == EINVAL);
	m.id[0] = 99;
	CHECK(ask(pod.socket, &m, 0, 0, reply, &none) == MSG_FAILED && ((struct msg_failed *)reply)->error == ESRCH);
	CHECK(ask_id(pod.socket, MSG_ACK, 14, -1, reply) == MSG_FAILED && ((struct msg_failed *)reply)->error == EBUSY);
	struct msg_writer w = {{sizeof(w), MSG_WRITER_CGROUPS, 0}, 0, 0};
	CHECK(ask(pod.socket, &w, 0, 0, reply, &none) == MSG_FAILED && ((struct msg_failed *)reply)->error == EINVAL);
	w.clone_into = 2;
	CHECK(ask(pod.socket, &w, &file, 1, reply, &none) == MSG_FAILED && ((struct msg_failed *)reply)->error == EINVAL);
	w.clone_into = 0;
	CHECK(ask(pod.socket, &w, &file, 1, reply, &none) == MSG_FAILED && ((struct msg_failed *)reply)->error == EEXIST);
	CHECK(ask_id(pod.socket, MSG_CLOSE_STDIN, 14, -1, reply) == MSG_DONE);
	CHECK(wait_exit(&pod, 14).status == 0);
	acknowledge(14);
	close(file);
}

/* What pause holds when all is over. */
static int open_files(void)
{
	char path[64];
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pod.pid);
	d = opendir(path);
	CHECK(d != 0);
	while (readdir(d) != 0)
		n++;
	closedir(d);
	return n;
}

/* More processes than the table has entries, one after the other and a few at a time, into one log that is always added to. */
static void test_many(void)
{
	char shell[64];
	u64 n = 0;

	for (u64 i = 0; i < PROTO_MAX_PROCESSES + 44; i += 4) {
		struct run idle = {.id = 1000 + i, .shell = "exit 7", .log = log_file("many-none")};

		close(start(&pod, &idle));
		for (u64 k = 1; k < 4; k++, n++) {
			snprintf(shell, sizeof(shell), "echo %lu", n);
			run_to_end(1000 + i + k, shell, "many");
			if (k > 1)
				acknowledge(1000 + i + k);
		}
		CHECK(wait_exit(&pod, 1000 + i).status == 7 << 8);
		acknowledge(1000 + i);
		acknowledge(1000 + i + 1);
	}
	wait_for("many", (long)n * 41 + 10 + 90 * 2 + ((long)n - 100) * 3);
	count(n, "many", 0);
}

/* Without a PID namespace that pause is the first of, its writer ends by itself. */
static void test_end(void)
{
	pid_t writer = child_named(pod.pid, "podlet-logger");
	struct pollfd gone = {pod.pidfd, POLLIN, 0};
	int status;

	CHECK(writer > 0 && kill(pod.pid, SIGKILL) == 0);
	CHECK(poll(&gone, 1, -1) == 1);	/* its children are ours now */
	CHECK(waitpid(writer, &status, 0) == writer && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_speed(long bytes)
{
	char shell[256];
	long size;
	u64 began = now_ns(), took;

	snprintf(shell, sizeof(shell), "yes $(seq -s '' 10 58)9 | head -c %ld", bytes);
	run_to_end(10, shell, "speed");
	wait_for("speed", bytes / 100 * 140);
	took = now_ns() - began;
	acknowledge(10);
	free(slurp("speed", &size));
	CHECK(size == bytes / 100 * 140);
	unlink(TEST_DIR "/speed");
	printf("%ld MB in lines of 100 bytes: %lu MB/s\n", bytes / 1000000, (u64)bytes * 1000 / took);
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
	int binary;
	long size;

	CHECK(argc == 2 || argc == 3);
	setvbuf(stdout, 0, _IOLBF, 0);
	binary = fcntl(open(argv[1], O_RDONLY | O_CLOEXEC), F_DUPFD_CLOEXEC, 10);	/* 3 is to be the nursery's socket */
	CHECK(binary >= 0);
	enter_namespace();
	CHECK(mkfifo(TEST_DIR "/go", 0600) == 0 && mkfifo(TEST_DIR "/go2", 0600) == 0);
	struct nursery n = nursery_start(binary);
	int cgroup = log_file("cgroup.procs");
	pod = pause_start(&n, "pod", 0, &cgroup, 1);
	show("idle pause", pod.pid);
	int files = open_files();
	test_lines();
	show("pause that logged", pod.pid);
	wait_for("cgroup.procs", 1);
	char *joined = slurp("cgroup.procs", &size);
	CHECK(strcmp(joined, "0") == 0);
	free(joined);
	test_tty();
	test_background();
	test_taps();
	test_hang();
	test_rotation_and_kills();
	test_speed(argc > 2 ? atol(argv[2]) * 1000000 : 100000000);
	show("pause that logged a lot", pod.pid);
	test_full_disk();
	test_long_line();
	test_stop_logging();
	test_full_tap();
	test_refusals();
	test_many();
	/* The event for the writer is the one fd that came to stay. */
	for (int i = 0; i < 60000 && open_files() != files + 1; i++)
		usleep(1000);
	CHECK(open_files() == files + 1);
	test_end();
	printf("e2e: ok\n");
	return 0;
}
