package tape

import "golang.org/x/sys/unix"

// order checks what must come before what.
func (l *linter) order() {
	l.dumpable()
	l.execve()
	l.groups()
	l.capset()
	l.seccomp()
}

func (l *linter) dumpable() {
	if len(l.t.steps) > 0 && !isPrctl(&l.t.steps[0], unix.PR_SET_DUMPABLE, 0) {
		l.find(RuleDumpable, 0, "the first step must be prctl(PR_SET_DUMPABLE, 0): what comes before it can be looked into through /proc")
	}
}

func isPrctl(s *step, op, arg uint64) bool {
	return s.nr == unix.SYS_PRCTL && s.args[0] == imm(op) && s.args[1] == imm(arg)
}

func (l *linter) execve() {
	exec := l.first(isCall(unix.SYS_EXECVE))
	for i := exec; i < len(l.t.steps); i++ {
		if l.t.steps[i].nr != unix.SYS_EXECVE {
			l.find(RuleExecve, i, "it comes behind the execve of step %d, which doesn't return", exec)
		}
	}
}

func (l *linter) groups() {
	uid := l.last(isCall(unix.SYS_SETRESUID))
	if uid < 0 {
		return
	}
	groups, gid := l.last(isCall(unix.SYS_SETGROUPS)), l.last(isCall(unix.SYS_SETRESGID))
	switch {
	case groups < 0:
		l.find(RuleGroups, uid, "without a setgroups the process keeps podlet's groups")
	case groups > uid:
		l.find(RuleGroups, groups, "it comes behind the setresuid of step %d, which takes the right to it", uid)
	}
	if gid > uid {
		l.find(RuleGroups, gid, "it comes behind the setresuid of step %d, which takes the right to it", uid)
	}
}

func (l *linter) capset() {
	caps, uid := l.last(isCall(unix.SYS_CAPSET)), l.last(isCall(unix.SYS_SETRESUID))
	if caps >= 0 && caps < uid {
		l.find(RuleCapset, caps, "the setresuid of step %d comes behind it and changes the sets again", uid)
	}
}

const capSysAdmin = 21

// seccomp walks the tape for whether each filter may be put in force.
func (l *linter) seccomp() {
	admin, locked := true, false
	p := newPrinter(l.t, ExplainOptions{})
	for i := range l.t.steps {
		s := &l.t.steps[i]
		switch {
		case isPrctl(s, unix.PR_SET_NO_NEW_PRIVS, 1):
			locked = true
		case s.nr == unix.SYS_SETRESUID && s.args[1] != imm(0):
			admin = false
		case s.nr == unix.SYS_CAPSET && p.size(s.args[1]) == 24:
			admin = u32(p.bytes(s.args[1]), 0)>>capSysAdmin&1 != 0
		case s.nr == unix.SYS_SECCOMP && !admin && !locked:
			l.find(RuleSeccomp, i, "it needs prctl(PR_SET_NO_NEW_PRIVS, 1) before it, or CAP_SYS_ADMIN")
		}
	}
}
