/* unit_message.c - tests of what passes for a message from podlet. */
#include "../memory.h"
#include "../message.h"
#include "../sys.h"
#include "../tape.h"
#include "unit.h"

void test_decode(void)
{
	u64 packet[PROTO_MAX_SIZE / 8 + 1];
	struct msg_header *h = (void *)packet;
	union message m;

	memset(packet, 0, sizeof(packet));
	for (u64 n = 0; n < sizeof(*h); n++)
		CHECK(message_decode(&m, packet, n) == -EBADMSG);
	*h = (struct msg_header){sizeof(struct msg_id), MSG_ACK, 7};
	CHECK(message_decode(&m, packet, sizeof(struct msg_id)) == 0 && m.h.seq == 7);
	CHECK(message_decode(&m, packet, sizeof(struct msg_id) - 1) == -EBADMSG);
	h->size = sizeof(*h);
	CHECK(message_decode(&m, packet, sizeof(*h)) == -EINVAL && m.h.seq == 7);
	/* A later version's field. */
	h->size = sizeof(struct msg_id) + 8;
	CHECK(message_decode(&m, packet, h->size) == 0);
	packet[sizeof(struct msg_id) / 8] = 1ul << 56;
	CHECK(message_decode(&m, packet, h->size) == -E2BIG && m.h.seq == 7);
	h->size = PROTO_MAX_SIZE + 1;
	CHECK(message_decode(&m, packet, PROTO_MAX_SIZE + 1) == -EBADMSG);
	/* Answers, and what no version knows, are no requests. */
	for (u32 type = 0; type < 40; type++) {
		int request = type == MSG_HELLO || type == MSG_FDS || type == MSG_CLONE || type == MSG_LIST || type == MSG_ACK ||
			      type == MSG_LOG || type == MSG_TAP || type == MSG_CLOSE_STDIN || type == MSG_LOG_READY ||
			      type == MSG_LOG_TURN || type == MSG_WRITER_CGROUPS || type == MSG_FLUSH;

		memset(packet, 0, sizeof(packet));
		*h = (struct msg_header){PROTO_MAX_SIZE, type, 0};
		CHECK((message_decode(&m, packet, PROTO_MAX_SIZE) == 0) == request);
	}
}

static struct msg_clone clone_sample(void)
{
	struct msg_clone m = {.kind = CLONE_EXEC, .stdout_fd = 0, .stderr_fd = 1, .log_fd = 2, .tape_fds = 3};

	m.cgroup_fd = m.listen_fd = m.gate_fd = m.stdin_fd = PROTO_NO_FD;
	return m;
}

#define CLONE_IS(result, nfds, change) \
	do { struct msg_clone m = clone_sample(); struct clone_layout l; change; CHECK((clone_check(&m, nfds, &l) == 0) == result); } while (0)

void test_clone_check(void)
{
	struct msg_clone good = clone_sample();
	struct clone_layout layout;

	CHECK(clone_check(&good, 9, &layout) == 0 && layout.first == 4 && layout.count == 5);
	CLONE_IS(1, 4, );
	CLONE_IS(0, 3, );
	CLONE_IS(0, 0, );
	CLONE_IS(0, 9, m.kind = 0);
	CLONE_IS(0, 9, m.kind = 6);
	CLONE_IS(0, 9, m.reserved = 1);
	CLONE_IS(0, 9, m.flags = 4);
	CLONE_IS(0, 9, m.clone_flags = CLONE_VM);
	CLONE_IS(0, 9, m.clone_flags = CLONE_FILES);
	CLONE_IS(1, 9, m.clone_flags = CLONE_NEWPID);
	CLONE_IS(0, 9, m.clone_flags = CLONE_INTO_CGROUP);
	CLONE_IS(1, 9, m.clone_flags = CLONE_INTO_CGROUP; m.cgroup_fd = 2; m.log_fd = PROTO_NO_FD);
	CLONE_IS(0, 9, m.cgroup_fd = 2; m.log_fd = PROTO_NO_FD);
	CLONE_IS(0, 9, m.stderr_fd = 0);	/* twice the same */
	CLONE_IS(0, 9, m.stderr_fd = 3);	/* the tape */
	CLONE_IS(0, 9, m.stderr_fd = 0xfffffffe);
	CLONE_IS(0, 9, m.stdout_fd = m.stderr_fd = PROTO_NO_FD);	/* a log of nothing */
	CLONE_IS(0, 9, m.tape_fds = 9);
	CLONE_IS(0, 9, m.tape_fds = PROTO_NO_FD);
	CLONE_IS(0, 9, m.listen_fd = 2; m.log_fd = PROTO_NO_FD);
	CLONE_IS(0, 9, m.gate_fd = 2; m.log_fd = PROTO_NO_FD);
	CLONE_IS(0, 9, m.writer_cgroup_fds = 1);
	CLONE_IS(0, 9, m.kind = CLONE_PAUSE);
	CLONE_IS(1, 9, m.kind = CLONE_PAUSE; m.listen_fd = 2; m.log_fd = PROTO_NO_FD; m.writer_cgroup_fds = 5);
	CLONE_IS(0, 9, m.kind = CLONE_PAUSE; m.listen_fd = 2; m.log_fd = PROTO_NO_FD; m.writer_cgroup_fds = 6);
	CLONE_IS(0, 9, m.kind = CLONE_PAUSE; m.listen_fd = 2; m.log_fd = PROTO_NO_FD; m.writer_cgroup_fds = 0xffffffff);
	CLONE_IS(0, 9, m.kind = CLONE_PAUSE; m.listen_fd = 2; m.log_fd = PROTO_NO_FD; memset(m.name, 'x', 32));
	CLONE_IS(0, 9, m.kind = CLONE_PAUSE; m.listen_fd = 2; m.log_fd = PROTO_NO_FD; m.name[0] = '\n');
	CLONE_IS(1, 4 + TAPE_MAX_FDS, );
	CLONE_IS(0, 5 + TAPE_MAX_FDS, );
}
