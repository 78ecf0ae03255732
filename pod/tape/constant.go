package tape

import "golang.org/x/sys/unix"

// The tables name arguments that are one of several numbers.
var (
	fsconfigCommands = map[uint64]string{
		unix.FSCONFIG_SET_FLAG:        "FSCONFIG_SET_FLAG",
		unix.FSCONFIG_SET_STRING:      "FSCONFIG_SET_STRING",
		unix.FSCONFIG_SET_BINARY:      "FSCONFIG_SET_BINARY",
		unix.FSCONFIG_SET_PATH:        "FSCONFIG_SET_PATH",
		unix.FSCONFIG_SET_PATH_EMPTY:  "FSCONFIG_SET_PATH_EMPTY",
		unix.FSCONFIG_SET_FD:          "FSCONFIG_SET_FD",
		unix.FSCONFIG_CMD_CREATE:      "FSCONFIG_CMD_CREATE",
		unix.FSCONFIG_CMD_RECONFIGURE: "FSCONFIG_CMD_RECONFIGURE",
	}
	ioctlRequests = map[uint64]string{
		unix.TIOCSCTTY:    "TIOCSCTTY",
		unix.TIOCNOTTY:    "TIOCNOTTY",
		unix.TIOCSWINSZ:   "TIOCSWINSZ",
		unix.TIOCSPTLCK:   "TIOCSPTLCK",
		unix.TIOCGPTPEER:  "TIOCGPTPEER",
		unix.SIOCSIFFLAGS: "SIOCSIFFLAGS",
	}
	socketDomains = map[uint64]string{
		unix.AF_UNIX:    "AF_UNIX",
		unix.AF_INET:    "AF_INET",
		unix.AF_INET6:   "AF_INET6",
		unix.AF_NETLINK: "AF_NETLINK",
	}
	socketTypes = map[uint64]string{
		unix.SOCK_STREAM:    "SOCK_STREAM",
		unix.SOCK_DGRAM:     "SOCK_DGRAM",
		unix.SOCK_RAW:       "SOCK_RAW",
		unix.SOCK_SEQPACKET: "SOCK_SEQPACKET",
	}
	keyctlCommands    = map[uint64]string{unix.KEYCTL_JOIN_SESSION_KEYRING: "KEYCTL_JOIN_SESSION_KEYRING"}
	seccompOperations = map[uint64]string{
		unix.SECCOMP_SET_MODE_STRICT: "SECCOMP_SET_MODE_STRICT",
		unix.SECCOMP_SET_MODE_FILTER: "SECCOMP_SET_MODE_FILTER",
	}
	prctlOptions = map[uint64]string{
		unix.PR_SET_PDEATHSIG:       "PR_SET_PDEATHSIG",
		unix.PR_GET_DUMPABLE:        "PR_GET_DUMPABLE",
		unix.PR_SET_DUMPABLE:        "PR_SET_DUMPABLE",
		unix.PR_SET_KEEPCAPS:        "PR_SET_KEEPCAPS",
		unix.PR_SET_TIMING:          "PR_SET_TIMING",
		unix.PR_SET_NAME:            "PR_SET_NAME",
		unix.PR_SET_TSC:             "PR_SET_TSC",
		unix.PR_CAPBSET_DROP:        "PR_CAPBSET_DROP",
		unix.PR_SET_SECUREBITS:      "PR_SET_SECUREBITS",
		unix.PR_SET_TIMERSLACK:      "PR_SET_TIMERSLACK",
		unix.PR_MCE_KILL:            "PR_MCE_KILL",
		unix.PR_SET_CHILD_SUBREAPER: "PR_SET_CHILD_SUBREAPER",
		unix.PR_SET_NO_NEW_PRIVS:    "PR_SET_NO_NEW_PRIVS",
		unix.PR_SET_THP_DISABLE:     "PR_SET_THP_DISABLE",
		unix.PR_CAP_AMBIENT:         "PR_CAP_AMBIENT",
		unix.PR_SET_IO_FLUSHER:      "PR_SET_IO_FLUSHER",
		unix.PR_SET_MDWE:            "PR_SET_MDWE",
		unix.PR_SET_MEMORY_MERGE:    "PR_SET_MEMORY_MERGE",
	}
	ambientCommands = map[uint64]string{
		unix.PR_CAP_AMBIENT_RAISE:     "PR_CAP_AMBIENT_RAISE",
		unix.PR_CAP_AMBIENT_LOWER:     "PR_CAP_AMBIENT_LOWER",
		unix.PR_CAP_AMBIENT_CLEAR_ALL: "PR_CAP_AMBIENT_CLEAR_ALL",
	}
	resources = map[uint64]string{
		unix.RLIMIT_CPU:        "RLIMIT_CPU",
		unix.RLIMIT_FSIZE:      "RLIMIT_FSIZE",
		unix.RLIMIT_DATA:       "RLIMIT_DATA",
		unix.RLIMIT_STACK:      "RLIMIT_STACK",
		unix.RLIMIT_CORE:       "RLIMIT_CORE",
		unix.RLIMIT_RSS:        "RLIMIT_RSS",
		unix.RLIMIT_NPROC:      "RLIMIT_NPROC",
		unix.RLIMIT_NOFILE:     "RLIMIT_NOFILE",
		unix.RLIMIT_MEMLOCK:    "RLIMIT_MEMLOCK",
		unix.RLIMIT_AS:         "RLIMIT_AS",
		unix.RLIMIT_LOCKS:      "RLIMIT_LOCKS",
		unix.RLIMIT_SIGPENDING: "RLIMIT_SIGPENDING",
		unix.RLIMIT_MSGQUEUE:   "RLIMIT_MSGQUEUE",
		unix.RLIMIT_NICE:       "RLIMIT_NICE",
		unix.RLIMIT_RTPRIO:     "RLIMIT_RTPRIO",
		unix.RLIMIT_RTTIME:     "RLIMIT_RTTIME",
	}
	personalities   = map[uint64]string{0: "PER_LINUX", 8: "PER_LINUX32", 0xffffffff: "query"}
	sigmaskHows     = map[uint64]string{unix.SIG_BLOCK: "SIG_BLOCK", unix.SIG_UNBLOCK: "SIG_UNBLOCK", unix.SIG_SETMASK: "SIG_SETMASK"}
	priorityWhiches = map[uint64]string{unix.PRIO_PROCESS: "PRIO_PROCESS", unix.PRIO_PGRP: "PRIO_PGRP", unix.PRIO_USER: "PRIO_USER"}
	schedulers      = map[uint64]string{
		unix.SCHED_NORMAL:   "SCHED_NORMAL",
		unix.SCHED_FIFO:     "SCHED_FIFO",
		unix.SCHED_RR:       "SCHED_RR",
		unix.SCHED_BATCH:    "SCHED_BATCH",
		unix.SCHED_IDLE:     "SCHED_IDLE",
		unix.SCHED_DEADLINE: "SCHED_DEADLINE",
	}
	ioprioWhos    = map[uint64]string{ioprioWhoProcess: "IOPRIO_WHO_PROCESS", 2: "IOPRIO_WHO_PGRP", 3: "IOPRIO_WHO_USER"}
	ioprioClasses = map[uint64]string{0: "IOPRIO_CLASS_NONE", 1: "IOPRIO_CLASS_RT", 2: "IOPRIO_CLASS_BE", 3: "IOPRIO_CLASS_IDLE"}
	mempolicies   = map[uint64]string{
		unix.MPOL_DEFAULT:    "MPOL_DEFAULT",
		unix.MPOL_PREFERRED:  "MPOL_PREFERRED",
		unix.MPOL_BIND:       "MPOL_BIND",
		unix.MPOL_INTERLEAVE: "MPOL_INTERLEAVE",
		unix.MPOL_LOCAL:      "MPOL_LOCAL",
	}
)

// capabilities are the names of capabilities(7), the index being the number.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
	"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN",
	"CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
	"CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}
