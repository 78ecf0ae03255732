/* fuzz_message.c - any packet with any number of fds: message_decode, and for a CLONE clone_check with what it promises. */
#include "../limits.h"
#include "../message.h"

void abort(void) __attribute__((noreturn));
int LLVMFuzzerTestOneInput(const u8 *bytes, unsigned long size);

#define PROMISE(what) do { if (!(what)) abort(); } while (0)

static void check_clone(const struct msg_clone *m, u32 nfds)
{
	u32 index[] = {m->cgroup_fd, m->listen_fd, m->gate_fd, m->stdout_fd, m->stderr_fd, m->stdin_fd, m->log_fd}, named = 0;
	struct clone_layout l;

	if (clone_check(m, nfds, &l) != 0)
		return;
	for (u32 i = 0; i < 7; i++) {
		PROMISE(index[i] == PROTO_NO_FD || index[i] < m->tape_fds);
		named += index[i] != PROTO_NO_FD;
	}
	PROMISE(named <= m->tape_fds && m->tape_fds < nfds);
	PROMISE(l.first == m->tape_fds + 1 && l.count <= TAPE_MAX_FDS && m->writer_cgroup_fds <= MAX_WRITER_CGROUPS);
	PROMISE((u64)l.first + l.count + m->writer_cgroup_fds == nfds);
	PROMISE(m->kind != CLONE_PAUSE || m->name[31] == 0 || __builtin_memchr(m->name, 0, 32) != 0);
}

int LLVMFuzzerTestOneInput(const u8 *bytes, unsigned long size)
{
	union message m;
	u32 nfds;

	if (size < 2)
		return 0;
	nfds = (u32)(bytes[0] | bytes[1] << 8) % (MAX_INBOX_FDS + 1);
	if (message_decode(&m, bytes + 2, size - 2) == 0 && m.h.type == MSG_CLONE)
		check_clone(&m.clone, nfds);
	return 0;
}
