/*
 * proto.h - what podlet and pause say to each other.
 *
 * The carrier is a SOCK_SEQPACKET unix socket: one message a packet, fds as SCM_RIGHTS. Two processes of the same
 * binary speak it: the *nursery* (one a podlet, on a socketpair, fd 3) and a *pause* (one a pod, on a listening
 * socket that podlet made and that it finds again after a restart). Both only ever do one thing, CLONE:
 * start a child, let it play a tape, and do with it what `kind` says.
 *
 * Growth, as the kernel grows its structs: a message starts with its size; fields are only ever appended; a field
 * that the sender doesn't know reads as 0, and 0 means the old behaviour; an unknown field that isn't 0 is refused with E2BIG.
 * Numbers are append-only. A pause of version N is understood by every podlet of version N or later.
 *
 * Messages (P podlet, S pause or nursery); every request has one answer with its seq; EXITED comes unasked:
 *
 *	type       dir   struct         fds
 *	HELLO      P->S  msg_hello      -
 *	WELCOME    S->P  msg_welcome    [status page memfd]
 *	FDS        P->S  msg_header     up to 250, kept until the next CLONE, in front of that one's    (no answer)
 *	CLONE      P->S  msg_clone      [tape, then the tape's own fds in order]; see the *_fd fields
 *	CLONED     S->P  msg_cloned     [pidfd]
 *	LIST       P->S  msg_header     -
 *	PROCESS    S->P  msg_process    [pidfd] while it lives    (one a process, then DONE)
 *	ACK        P->S  msg_id         -              forget an exit record
 *	LOG        P->S  msg_id         [log file]     write from here on to this file; without fd: stop logging
 *	TAP        P->S  msg_tap        [stdout pipe, stderr pipe]   answered by TAPPED
 *	TAPPED     S->P  msg_header     [stdin or TTY master]        no fd where the process has no input
 *	CLOSE_STDIN P->S msg_id         -
 *	DONE       S->P  msg_header     -              the plain yes
 *	FAILED     S->P  msg_failed     -              the plain no
 *	EXITED     S->P  msg_process    -              seq 0
 *	LOG_READY  P->S  msg_id         [log file]     get ready to write to this file (version 2)
 *	LOG_TURN   P->S  msg_id         -              write from here on to LOG_READY's file (version 2)
 *	WRITER     S->P  msg_header     -              seq 0: a log writer runs, and no cgroups are known for it (version 3)
 *	WRITER_CGROUPS P->S msg_writer  see clone_into where log writers are to be from here on; EEXIST: that is known (version 3)
 *	FLUSH      P->S  msg_header     -              answered when what was written by now is in the logs (version 3)
 *
 * Of output. EXITED is sent when the process's last output is in its log, and 50 ms after its end at the latest. LOG is
 * answered when the writer has turned to the new file and writes no more to the old one, and after 50 ms at the latest;
 * EBUSY: it hasn't done so for the LOG before. What was written before LOG goes to the old file, unless pause is
 * behind with reading because the writer hangs; an unfinished line goes to the new one as a whole. ACK drops the record:
 * what was written by then is still logged, what is written later gets EPIPE.
 *
 * LOG_READY and LOG_TURN are LOG in two steps, between which podlet tells its own client that the old file is complete. LOG_READY is answered as LOG
 * is; from then on nothing is read, so that nothing is written to the old file. If LOG_TURN doesn't come in 0.3 s, because podlet died, what comes
 * is written to the old file: that one has a name in any case, while the new one may have lost its by then. LOG_TURN is then ENOENT, and LOG is what is left to do.
 * LOG forgets a LOG_READY.
 *
 * WRITER comes when a writer is started, and behind WELCOME if one runs. A writer that runs ends when WRITER_CGROUPS comes, as soon as it has written what it is at,
 * and its successor starts in the cgroups. So do all after it; but one whose predecessor was killed, as it may be in the cgroups for want of memory, gets a little done
 * before it goes there: no line is lost, whatever the pod's limits are.
 *
 * FLUSH is about what was written before it, by processes that have exited as a whole, by others as far as it was read. It is answered after 250 ms at the latest. EBUSY: there is one already.
 *
 * TAP: pause closes its end of a pipe when the stream ends, and of both when one is full: the client was too slow.
 * podlet closing its end ends the tap, and so does podlet's death: an end of stdin is CLOSE_STDIN alone. EBUSY: there are
 * 4 already. A stream that the process doesn't have, or not any more, reads as ended.
 */
#ifndef PODLET_PROTO_H
#define PODLET_PROTO_H

#include "types.h"

#define PROTO_VERSION	3u	/* 2: LOG_READY, LOG_TURN; 3: WRITER, WRITER_CGROUPS, FLUSH */
#define PROTO_MAX_FDS	250u	/* fds in one packet; the kernel's SCM_MAX_FD is 253 */
#define PROTO_MAX_SIZE	512u	/* bytes of the largest message */
#define PROTO_MAX_PROCESSES 256u	/* processes that one pause looks after, exit records included */
#define PROTO_NO_FD	0xffffffffu

enum {
	MSG_HELLO = 1,
	MSG_WELCOME = 2,
	MSG_FDS = 3,
	MSG_CLONE = 4,
	MSG_CLONED = 5,
	MSG_LIST = 6,
	MSG_PROCESS = 7,
	MSG_ACK = 8,
	MSG_LOG = 9,
	MSG_TAP = 10,
	MSG_TAPPED = 11,
	MSG_CLOSE_STDIN = 12,
	MSG_DONE = 13,
	MSG_FAILED = 14,
	MSG_EXITED = 15,
	MSG_LOG_READY = 16,
	MSG_LOG_TURN = 17,
	MSG_WRITER = 18,
	MSG_WRITER_CGROUPS = 19,
	MSG_FLUSH = 20,
};

struct msg_header {
	u32 size;		/* bytes of the whole message */
	u32 type;		/* MSG_* */
	u64 seq;		/* chosen by the asker, repeated in the answer */
};

struct msg_hello {
	struct msg_header h;
	u32 version;		/* podlet's PROTO_VERSION */
	u32 reserved;
};

struct msg_welcome {
	struct msg_header h;
	u32 version;		/* PROTO_VERSION of this pause */
	u32 tape_version;
	u64 started;		/* CLOCK_REALTIME nanoseconds when this process took up its role */
};

/* msg_clone.kind: what becomes of the child. */
enum {
	CLONE_EXEC = 1,		/* the tape must end in execve; running out is a failure */
	CLONE_RUN = 2,		/* the tape may end; the child then exits with 0 */
	CLONE_PAUSE = 3,	/* nursery only: at the tape's end the child becomes a pause on the listening socket listen_fd */
	CLONE_INIT = 4,		/* at the tape's end the child becomes the PID 1 of a shared PID namespace; it ends when gate_fd reads EOF */
	CLONE_SELF = 5,		/* nursery only: no child, the nursery plays the tape itself (its own mount namespace) */
};

/* msg_clone.flags */
enum {
	CLONE_LOG_TTY = 1 << 0,	/* stdout_fd is a TTY's master: read until EIO, log as stdout, no P/F surgery on \r\n beyond the CRI's */
	CLONE_STDIN_ONCE = 1 << 1,	/* of no effect. Earlier pauses close stdin after the first tap that had it ends, podlet's death included */
};

struct msg_clone {
	struct msg_header h;
	u64 id[4];		/* podlet's name for the process: 32 bytes, never interpreted, unique within the pause */
	u64 clone_flags;	/* CLONE_NEW*, CLONE_INTO_CGROUP; exit_signal is always SIGCHLD */
	u32 kind;
	u32 flags;
	/* Indices into the fds of this message (FDS included), PROTO_NO_FD: none. pause keeps these fds, the child closes them. */
	u32 cgroup_fd;		/* for CLONE_INTO_CGROUP; closed after the clone */
	u32 listen_fd;		/* CLONE_PAUSE */
	u32 gate_fd;		/* CLONE_INIT */
	u32 stdout_fd;		/* read end of the pipe, or TTY master */
	u32 stderr_fd;		/* read end of the pipe */
	u32 stdin_fd;		/* write end of the pipe; of a TTY: none, its master is the input */
	u32 log_fd;		/* the log file, opened O_WRONLY by podlet; lines are added at its end */
	u32 tape_fds;		/* index of the tape's memfd; the tape's own fds are all behind it */
	u32 writer_cgroup_fds;	/* CLONE_PAUSE: how many of the last fds are cgroup.procs files that this pod's log writer writes "0" to */
	u32 reserved;
	char name[32];		/* CLONE_PAUSE and CLONE_INIT: shown in ps behind the process's role; NUL-terminated */
};

struct msg_cloned {
	struct msg_header h;
	u32 slot;		/* index of the process's tape_status in the status page */
	s32 pid;		/* in pause's PID namespace, for logs only */
};

struct msg_id {
	struct msg_header h;
	u64 id[4];
};

struct msg_tap {
	struct msg_header h;
	u64 id[4];
	u32 want_input;		/* 1: answer with a dup of the input end */
	u32 streams;		/* bit 0: the first fd is for stdout; bit 1: the next fd is for stderr */
};

struct msg_writer {
	struct msg_header h;
	u32 clone_into;		/* 1: the first fd is the directory of a v2 cgroup, which writers are cloned into. All others are files that each writes "0" to: v1's tasks */
	u32 reserved;
};

/* msg_process.state */
enum {
	PROCESS_RUNNING = 1,
	PROCESS_EXITED = 2,
};

struct msg_process {
	struct msg_header h;
	u64 id[4];
	u32 kind;
	u32 state;
	u32 slot;
	s32 status;		/* wait status as wait4(2) gives it; only if exited */
	u64 started;		/* CLOCK_REALTIME nanoseconds of the clone */
	u64 exited;		/* CLOCK_REALTIME nanoseconds of the reaping; 0: runs */
	u32 step;		/* tape_status.step and .error at the exit: error isn't 0 if the launch failed; a step before the tape's execve: killed while launching */
	s32 error;
	u64 dropped_bytes;	/* output that could not be written to the log */
	u64 dropped_lines;
};

struct msg_failed {
	struct msg_header h;
	s32 error;		/* errno */
	u32 step;		/* of the tape, where it was CLONE_SELF; TAPE_STEP_INVALID where the tape was refused */
};

#define FAILED_STEP_NONE 0xfffffffeu	/* msg_failed.step: it never came to a tape */

#endif
