package seccomp

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// condition compares one argument of a system call with a number.
type condition struct {
	arg   uint // 0 to 5
	op    specs.LinuxSeccompOperator
	value uint64
	// mask is for OpMaskedEqual only: value is what must be left below it.
	mask uint64
}

// holds says whether the condition is met by an argument.
func (c condition) holds(x uint64) bool {
	switch c.op {
	case specs.OpEqualTo:
		return x == c.value
	case specs.OpNotEqual:
		return x != c.value
	case specs.OpLessThan:
		return x < c.value
	case specs.OpLessEqual:
		return x <= c.value
	case specs.OpGreaterThan:
		return x > c.value
	case specs.OpGreaterEqual:
		return x >= c.value
	default:
		return x&c.mask == c.value
	}
}

// rule is an action and when it is taken.
type rule struct {
	ret  uint32 // SECCOMP_RET_* with its data
	when []condition
}

func newCondition(a specs.LinuxSeccompArg) (condition, error) {
	if a.Index > 5 {
		return condition{}, fmt.Errorf("argument %d: a system call has 0 to 5", a.Index)
	}
	switch a.Op {
	case specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual:
		return condition{arg: a.Index, op: a.Op, value: a.Value}, nil
	case specs.OpMaskedEqual:
		// The spec's "value" is the mask here.
		return condition{arg: a.Index, op: a.Op, value: a.ValueTwo, mask: a.Value}, nil
	}
	return condition{}, fmt.Errorf("operator %q is unknown", a.Op)
}

// action gives the number that a filter returns. errno is the profile's errnoRet: the data of SCMP_ACT_ERRNO, EPERM if nil, or of
// SCMP_ACT_TRACE.
func action(name specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	switch name {
	case specs.ActErrno:
		if errno == nil {
			return unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), nil
		}
		if *errno > 4095 {
			return 0, fmt.Errorf("errnoRet %d: want 0 to 4095", *errno)
		}
		return unix.SECCOMP_RET_ERRNO | uint32(*errno), nil
	case specs.ActTrace:
		if errno == nil {
			return unix.SECCOMP_RET_TRACE | uint32(unix.EPERM), nil
		}
		if *errno > unix.SECCOMP_RET_DATA {
			return 0, fmt.Errorf("errnoRet %d of SCMP_ACT_TRACE: want 0 to 65535", *errno)
		}
		return unix.SECCOMP_RET_TRACE | uint32(*errno), nil
	}
	if errno != nil {
		return 0, fmt.Errorf("errnoRet with action %s, which returns none", name)
	}
	switch name {
	case specs.ActKill, specs.ActKillThread:
		return unix.SECCOMP_RET_KILL_THREAD, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	case specs.ActTrap:
		return unix.SECCOMP_RET_TRAP, nil
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActLog:
		return unix.SECCOMP_RET_LOG, nil
	case specs.ActNotify:
		return 0, fmt.Errorf("action %s is not supported: nobody would answer", name)
	}
	return 0, fmt.Errorf("action %q is unknown", name)
}

// severity orders actions as the kernel does where several filters disagree: the lower, the more restrictive.
func severity(ret uint32) int32 { return int32(ret &^ uint32(unix.SECCOMP_RET_DATA)) }

// refuses says that an action keeps a call from being made, whoever looks on.
func refuses(ret uint32) bool { return severity(ret) <= severity(unix.SECCOMP_RET_ERRNO) }

func newRule(s *specs.LinuxSyscall) (rule, error) {
	ret, err := action(s.Action, s.ErrnoRet)
	if err != nil {
		return rule{}, err
	}
	r := rule{ret: ret}
	for _, a := range s.Args {
		c, err := newCondition(a)
		if err != nil {
			return rule{}, err
		}
		r.when = append(r.when, c)
	}
	return r, nil
}

// decision is what a system call gets: the first rule whose conditions hold, else otherwise.
type decision struct {
	rules     []rule
	otherwise uint32
}

// decide orders a call's rules by severity, so that the first that holds is the one that wins.
func decide(rules []rule, otherwise uint32) decision {
	sorted := slices.Clone(rules)
	slices.SortStableFunc(sorted, func(a, b rule) int { return int(severity(a.ret)>>16) - int(severity(b.ret)>>16) })
	for i, r := range sorted {
		if len(r.when) == 0 {
			sorted, otherwise = sorted[:i], r.ret
			break
		}
	}
	// A rule at the end that does what would be done anyway decides nothing.
	for n := len(sorted); n > 0 && sorted[n-1].ret == otherwise; n-- {
		sorted = sorted[:n-1]
	}
	return decision{rules: sorted, otherwise: otherwise}
}

// key is the same for decisions that are the same.
func (d decision) key() string {
	if len(d.rules) == 0 {
		return strconv.FormatUint(uint64(d.otherwise), 16)
	}
	return fmt.Sprint(d.otherwise, d.rules)
}
