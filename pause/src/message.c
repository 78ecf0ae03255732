/* message.c - taking a packet apart: sizes, versions, indices. */
#include "limits.h"
#include "memory.h"
#include "message.h"
#include "sys.h"

/* The size of a request as of the PROTO_VERSION that brought it. Nobody sends less; 0: not a request. */
static u32 size_of(u32 type)
{
	switch (type) {
	case MSG_HELLO:
		return sizeof(struct msg_hello);
	case MSG_FDS:
	case MSG_LIST:
	case MSG_FLUSH:
		return sizeof(struct msg_header);
	case MSG_CLONE:
		return sizeof(struct msg_clone);
	case MSG_ACK:
	case MSG_LOG:
	case MSG_LOG_READY:
	case MSG_LOG_TURN:
	case MSG_CLOSE_STDIN:
		return sizeof(struct msg_id);
	case MSG_TAP:
		return sizeof(struct msg_tap);
	case MSG_WRITER_CGROUPS:
		return sizeof(struct msg_writer);
	default:
		return 0;
	}
}

int message_decode(union message *out, const void *packet, u64 n)
{
	const u8 *bytes = packet;
	u32 size;

	memset(out, 0, sizeof(*out));
	if (n < sizeof(out->h) || n > PROTO_MAX_SIZE)
		return -EBADMSG;
	memcpy(&out->h, packet, sizeof(out->h));
	if (out->h.size != n)
		return -EBADMSG;
	size = size_of(out->h.type);
	if (size == 0 || n < size)
		return -EINVAL;
	for (u64 i = size; i < n; i++)
		if (bytes[i] != 0)
			return -E2BIG;
	memcpy(out, packet, size);
	return 0;
}

static int name_valid(const char *name, u64 n)
{
	for (u64 i = 0; i < n; i++) {
		if (name[i] == 0)
			return 1;
		if (name[i] < ' ' || name[i] > '~')
			return 0;
	}
	return 0;
}

/* Which fields a kind must have and which it must not. */
static int kind_valid(const struct msg_clone *m)
{
	int is_pause = m->kind == CLONE_PAUSE, is_init = m->kind == CLONE_INIT, is_self = m->kind == CLONE_SELF;

	if (m->kind < CLONE_EXEC || m->kind > CLONE_SELF)
		return 0;
	if ((m->listen_fd != PROTO_NO_FD) != is_pause || (m->gate_fd != PROTO_NO_FD) != is_init)
		return 0;
	if (m->writer_cgroup_fds != 0 && !is_pause)
		return 0;
	if ((is_pause || is_init) && !name_valid(m->name, sizeof(m->name)))
		return 0;
	return !is_self || m->clone_flags == 0;
}

int clone_check(const struct msg_clone *m, u32 nfds, struct clone_layout *out)
{
	u64 known = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWUSER |
		    CLONE_NEWCGROUP | CLONE_NEWTIME | CLONE_INTO_CGROUP;
	u32 index[] = {m->cgroup_fd, m->listen_fd, m->gate_fd, m->stdout_fd, m->stderr_fd, m->stdin_fd, m->log_fd};
	u32 count = sizeof(index) / sizeof(index[0]);

	if (!kind_valid(m) || m->reserved != 0 || (m->clone_flags & ~known) != 0)
		return -EINVAL;
	if ((m->flags & ~(u32)(CLONE_LOG_TTY | CLONE_STDIN_ONCE)) != 0)
		return -EINVAL;
	if (((m->clone_flags & CLONE_INTO_CGROUP) != 0) != (m->cgroup_fd != PROTO_NO_FD))
		return -EINVAL;
	if (m->log_fd != PROTO_NO_FD && m->stdout_fd == PROTO_NO_FD && m->stderr_fd == PROTO_NO_FD)
		return -EINVAL;
	if (m->tape_fds >= nfds || m->writer_cgroup_fds > MAX_WRITER_CGROUPS)
		return -EINVAL;
	if (m->writer_cgroup_fds > nfds - m->tape_fds - 1)
		return -EINVAL;
	for (u32 i = 0; i < count; i++) {
		if (index[i] == PROTO_NO_FD)
			continue;
		if (index[i] >= m->tape_fds)
			return -EINVAL;
		for (u32 k = 0; k < i; k++)
			if (index[k] == index[i])
				return -EINVAL;
	}
	out->first = m->tape_fds + 1;
	out->count = nfds - out->first - m->writer_cgroup_fds;
	return out->count <= TAPE_MAX_FDS ? 0 : -EINVAL;
}
