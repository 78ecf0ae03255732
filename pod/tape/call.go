package tape

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// call is how a system call reads.
type call struct {
	name string
	// least is how many arguments are always shown; trailing zeros and null pointers behind them aren't.
	least  int
	params []param
}

// param gives the text of argument k of a step; "" leaves it out.
type param func(p *printer, s *step, k int) string

// calls are those that the constructors make. What isn't here reads as its number and its bare arguments.
var calls = map[uint16]call{
	unix.SYS_SETNS:          {"setns", 2, []param{fdParam, flagParam(cloneFlags)}},
	unix.SYS_UNSHARE:        {"unshare", 1, []param{flagParam(cloneFlags)}},
	unix.SYS_CLONE3:         {"clone3", 1, []param{cloneArgsParam, sizeParam(0)}},
	unix.SYS_SETHOSTNAME:    {"sethostname", 1, []param{stringParam, sizeParam(0)}},
	unix.SYS_SETDOMAINNAME:  {"setdomainname", 1, []param{stringParam, sizeParam(0)}},
	unix.SYS_OPEN_TREE:      {"open_tree", 3, []param{fdParam, stringParam, flagParam(openTreeFlags)}},
	unix.SYS_MOVE_MOUNT:     {"move_mount", 5, []param{fdParam, stringParam, fdParam, stringParam, flagParam(moveMountFlags)}},
	unix.SYS_MOUNT_SETATTR:  {"mount_setattr", 4, []param{fdParam, stringParam, flagParam(atFlags), mountAttrParam, sizeParam(3)}},
	unix.SYS_MOUNT:          {"mount", 4, []param{stringParam, stringParam, stringParam, flagParam(mountFlags), stringParam}},
	unix.SYS_PIVOT_ROOT:     {"pivot_root", 2, []param{stringParam, stringParam}},
	unix.SYS_UMOUNT2:        {"umount2", 2, []param{stringParam, flagParam(umountFlags)}},
	unix.SYS_FSOPEN:         {"fsopen", 2, []param{stringParam, flagParam(fsopenFlags)}},
	unix.SYS_FSCONFIG:       {"fsconfig", 2, []param{fdParam, nameParam(fsconfigCommands), stringParam, stringParam, fdParam}},
	unix.SYS_FSMOUNT:        {"fsmount", 3, []param{fdParam, flagParam(fsmountFlags), flagParam(mountAttrs)}},
	unix.SYS_OPENAT2:        {"openat2", 3, []param{fdParam, stringParam, openHowParam, sizeParam(2)}},
	unix.SYS_CLOSE:          {"close", 1, []param{fdParam}},
	unix.SYS_CLOSE_RANGE:    {"close_range", 3, []param{decimalParam, lastFdParam, flagParam(closeRangeFlags)}},
	unix.SYS_DUP3:           {"dup3", 3, []param{fdParam, fdParam, openFlagParam}},
	unix.SYS_WRITE:          {"write", 2, []param{fdParam, stringParam, sizeParam(1)}},
	unix.SYS_READ:           {"read", 3, []param{fdParam, scratchParam, decimalParam}},
	unix.SYS_CHDIR:          {"chdir", 1, []param{stringParam}},
	unix.SYS_FCHDIR:         {"fchdir", 1, []param{fdParam}},
	unix.SYS_MKDIRAT:        {"mkdirat", 3, []param{fdParam, stringParam, octalParam}},
	unix.SYS_MKNODAT:        {"mknodat", 4, []param{fdParam, stringParam, fileModeParam, deviceParam}},
	unix.SYS_SYMLINKAT:      {"symlinkat", 3, []param{stringParam, fdParam, stringParam}},
	unix.SYS_FCHOWNAT:       {"fchownat", 5, []param{fdParam, stringParam, idParam, idParam, flagParam(atFlags)}},
	unix.SYS_FCHMOD:         {"fchmod", 2, []param{fdParam, octalParam}},
	unix.SYS_IOCTL:          {"ioctl", 3, []param{fdParam, nameParam(ioctlRequests), ioctlArgParam}},
	unix.SYS_SOCKET:         {"socket", 3, []param{nameParam(socketDomains), socketTypeParam, decimalParam}},
	unix.SYS_SETGROUPS:      {"setgroups", 1, []param{groupCountParam, groupsParam}},
	unix.SYS_SETRESUID:      {"setresuid", 3, []param{idParam, idParam, idParam}},
	unix.SYS_SETRESGID:      {"setresgid", 3, []param{idParam, idParam, idParam}},
	unix.SYS_CAPSET:         {"capset", 2, []param{capHeaderParam, capSetsParam}},
	unix.SYS_KEYCTL:         {"keyctl", 2, []param{nameParam(keyctlCommands), stringParam}},
	unix.SYS_SECCOMP:        {"seccomp", 3, []param{nameParam(seccompOperations), flagParam(seccompFlags), filterParam}},
	unix.SYS_PRCTL:          {"prctl", 2, []param{nameParam(prctlOptions), prctlParam, prctlParam, prctlParam, prctlParam}},
	unix.SYS_SETSID:         {"setsid", 0, nil},
	unix.SYS_PRLIMIT64:      {"prlimit64", 3, []param{decimalParam, nameParam(resources), limitParam, limitParam}},
	unix.SYS_UMASK:          {"umask", 1, []param{octalParam}},
	unix.SYS_PERSONALITY:    {"personality", 1, []param{nameParam(personalities)}},
	unix.SYS_RT_SIGPROCMASK: {"rt_sigprocmask", 4, []param{nameParam(sigmaskHows), signalSetParam, signalSetParam, decimalParam}},
	unix.SYS_RT_SIGACTION:   {"rt_sigaction", 4, []param{signalParam, sigactionParam, sigactionParam, decimalParam}},

	unix.SYS_SCHED_SETAFFINITY:  {"sched_setaffinity", 2, []param{decimalParam, affinitySizeParam, cpusParam}},
	unix.SYS_SETPRIORITY:        {"setpriority", 3, []param{nameParam(priorityWhiches), decimalParam, decimalParam}},
	unix.SYS_SCHED_SETSCHEDULER: {"sched_setscheduler", 3, []param{decimalParam, nameParam(schedulers), schedParam}},
	unix.SYS_IOPRIO_SET:         {"ioprio_set", 3, []param{nameParam(ioprioWhos), decimalParam, ioprioParam}},
	unix.SYS_SET_MEMPOLICY:      {"set_mempolicy", 3, []param{nameParam(mempolicies), stringParam, decimalParam}},
	unix.SYS_EXECVE:             {"execve", 3, []param{stringParam, argvParam, envParam}},
}

func (s *step) name() string {
	if c, ok := calls[s.nr]; ok {
		return c.name
	}
	return fmt.Sprintf("syscall_%d", s.nr)
}
