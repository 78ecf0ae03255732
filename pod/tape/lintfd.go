package tape

import (
	"slices"

	"golang.org/x/sys/unix"
)

// life is what becomes of one fd.
type life struct {
	name string
	// from is the step that opened it, -1: it was passed.
	from int
	// used is the last step that did something with it other than closing it; from if none did.
	used int
	// closed is the step that closed it, -1: none did.
	closed int
	// dup is true where the last use gave it a number of the standard streams.
	dup bool
	// lost is true where its register was overwritten.
	lost bool
}

// fds checks that every fd is closed in time, in a tape that ends in execve.
func (l *linter) fds() {
	exec := l.first(isCall(unix.SYS_EXECVE))
	if exec == len(l.t.steps) {
		return
	}
	cover := l.last(func(s *step) bool { return closesAll(s, unix.CLOSE_RANGE_CLOEXEC) })
	end := ends(l.t.steps)
	for _, f := range l.lives() {
		switch {
		case f.used < 0:
			l.find(RuleUnused, max(f.closed, 0), "<%s> is passed, but no step uses it", f.name)
		case f.closed < 0 && !f.lost && !f.dup && (cover < f.from || cover < 0):
			l.find(RuleLeak, f.used, "%s is still open at the execve of step %d, and no close_range(3, ~0, CLOSE_RANGE_CLOEXEC) covers it", f.name, exec)
		case f.lost || f.dup || slices.Contains(l.r.MayLinger, f.name):
		case f.closed < 0:
			l.find(RuleLinger, f.used, "%s is used here last, but not closed", f.name)
		case f.closed > l.actionEnd(end[f.used], l.t.steps[f.used].why):
			l.find(RuleLinger, f.closed, "%s is used by step %d last: it should be closed there", f.name, f.used)
		}
	}
}

// actionEnd is the last step of what step i is a part of: the steps behind it with the same why, and those that close fds.
func (l *linter) actionEnd(i int, why string) int {
	for i+1 < len(l.t.steps) {
		next := &l.t.steps[i+1]
		closes := next.nr == unix.SYS_CLOSE || next.nr == unix.SYS_CLOSE_RANGE
		if !closes && (why == "" || next.why != why) {
			break
		}
		i++
	}
	return i
}

// closesAll reports whether s is close_range(3, ~0, flags).
func closesAll(s *step, flags uint64) bool {
	return s.nr == unix.SYS_CLOSE_RANGE && s.args[0] == imm(3) && s.args[1] == imm(0xffffffff) && s.args[2] == imm(flags)
}

// lives follows every fd through the tape.
func (l *linter) lives() []*life {
	var all, passed []*life
	for _, name := range l.t.fds {
		f := &life{name: name, from: -1, used: -1, closed: -1}
		passed = append(passed, f)
		all = append(all, f)
	}
	var held [registers]*life
	p, end := newPrinter(l.t, ExplainOptions{}), ends(l.t.steps)
	// Those in structs; environments have many more, which are no fds.
	inStructs := slices.DeleteFunc(slices.Clone(l.t.relocs), func(r reloc) bool { return r.kind == relocData })
	for i := range l.t.steps {
		s := &l.t.steps[i]
		for _, f := range usedBy(s, passed, &held, inStructs) {
			switch {
			case s.nr == unix.SYS_CLOSE:
				f.closed = i
			default:
				f.used = i
				f.dup = s.nr == unix.SYS_DUP3 && s.args[1].kind == argImm && s.args[1].value <= 2
			}
		}
		if closesAll(s, 0) {
			for _, f := range all {
				if f.closed < 0 {
					f.closed = i
				}
			}
		}
		p.pass(i)
		if s.dst < 0 {
			continue
		}
		if old := held[s.dst]; old != nil && old.closed < 0 {
			if end[old.from] >= i {
				continue // the other way to open the same thing
			}
			l.find(RuleLeak, i, "it overwrites the register that holds %s, which is still open", old.name)
			old.lost = true
		}
		f := &life{name: p.labels[s.dst], from: i, used: i, closed: -1}
		held[s.dst] = f
		all = append(all, f)
	}
	return all
}

// usedBy are the fds that a step names, in its arguments or inside a struct.
func usedBy(s *step, passed []*life, held *[registers]*life, inStructs []reloc) []*life {
	var list []*life
	for _, a := range s.args {
		switch a.kind {
		case argFD:
			list = append(list, passed[a.value])
		case argReg:
			if held[a.value] != nil {
				list = append(list, held[a.value])
			}
		case argBuf:
			off, size := a.value&0xffffffff, a.value>>32
			for _, r := range inStructs {
				if uint64(r.where) >= off && uint64(r.where) < off+size {
					list = append(list, passed[r.value])
				}
			}
		}
	}
	return list
}

// unwritten checks that a register is written on every way to a step that uses it. A step whose failure is ignored without an Unless is
// held to be optional on purpose: what uses its result fails with EBADF and may ignore that.
func (l *linter) unwritten() {
	for i, bad := range unwritten(l.t.steps, registers) {
		if bad {
			l.find(RuleUnwritten, i, "its register is closed, or filled inside an Unless alone, which may have been skipped")
		}
	}
}
