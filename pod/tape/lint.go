package tape

import (
	"fmt"
	"slices"
)

// Rules are what the linter has to be told about a tape.
type Rules struct {
	// RootFDs name the passed fds of a container's root and of its volumes: what is inside is the image's or the container's to
	// shape. What is opened from them is held to be of the same kind.
	RootFDs []string
	// OwnPaths are the paths of pause's own tree that steps may name before the pivot: "/container" that one, "/proc/" all below, "/" the root alone.
	OwnPaths []string
	// MayLinger name the fds, passed or opened (as Explain calls them), that need not be closed at their last use.
	MayLinger []string
}

// The rules' names, as a Finding has them.
const (
	// RuleDumpable: the first step is prctl(PR_SET_DUMPABLE, 0). CVE-2016-9962, CVE-2019-5736.
	RuleDumpable = "dumpable"
	// RuleOwnPath: before the pivot a path that starts at the root or the working directory is one of OwnPaths.
	RuleOwnPath = "own-path"
	// RuleRootPath: before the pivot a path below a root fd is walked by openat2 alone, with RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS or
	// RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS; or it is a single name that its call makes and doesn't follow (mkdirat, mknodat, symlinkat).
	// CVE-2021-30465, CVE-2024-45310, CVE-2026-88264.
	RuleRootPath = "root-path"
	// RuleFollow: no call with a path below a root fd follows a symbolic link at its end, at any time.
	RuleFollow = "follow"
	// RuleLeak: no fd is left to the program, even if it should lose its close-on-exec flag. CVE-2024-21626.
	RuleLeak = "leak"
	// RuleLinger: an fd is closed at its last use: right behind it, or at the end of the steps with the same why.
	RuleLinger = "linger"
	// RuleUnused: a passed fd is used.
	RuleUnused = "unused"
	// RuleUnwritten: a register isn't used where the step that fills it may have been skipped.
	RuleUnwritten = "unwritten"
	// RuleGroups: the last setresuid comes behind setgroups and setresgid, and there is a setgroups.
	RuleGroups = "groups"
	// RuleCapset: the last capset comes behind the last change of ids, which would empty the sets.
	RuleCapset = "capset"
	// RuleSeccomp: seccomp comes behind no_new_privs, unless CAP_SYS_ADMIN is kept.
	RuleSeccomp = "seccomp"
	// RuleExecve: nothing comes behind an execve but another one.
	RuleExecve = "execve"
)

// Finding is a rule that a tape breaks.
type Finding struct {
	// Rule is one of the Rule constants.
	Rule string
	// Index and Step are the step's.
	Index int
	Step  string
	// Reason says what is wrong with it.
	Reason string
}

func (f *Finding) Error() string {
	return fmt.Sprintf("%s: step %d: %s: %s", f.Rule, f.Index, f.Step, f.Reason)
}

// Lint gives what is wrong with a tape, in the order of its steps: errors that are *Finding. It can't prove a tape right; it knows the
// mistakes that have been made. The rules of fds apply to tapes that end in execve: where the tape may run out, its process ends there, or
// closes all itself.
func Lint(t *Tape, r Rules) []error {
	l := &linter{t: t, r: r}
	l.order()
	l.paths()
	l.fds()
	l.unwritten()
	slices.SortStableFunc(l.found, func(a, b *Finding) int { return a.Index - b.Index })
	var errs []error
	for _, f := range l.found {
		f.Step = t.Step(f.Index).Text
		errs = append(errs, fmt.Errorf("tape of %s: %w", t.name, f))
	}
	return errs
}

type linter struct {
	t     *Tape
	r     Rules
	found []*Finding
}

func (l *linter) find(rule string, index int, format string, args ...any) {
	l.found = append(l.found, &Finding{Rule: rule, Index: index, Reason: fmt.Sprintf(format, args...)})
}

// first is the index of the first step that is, len(steps) if there is none.
func (l *linter) first(is func(s *step) bool) int {
	for i := range l.t.steps {
		if is(&l.t.steps[i]) {
			return i
		}
	}
	return len(l.t.steps)
}

// last is the index of the last step that is, -1 if there is none.
func (l *linter) last(is func(s *step) bool) int {
	for i := len(l.t.steps) - 1; i >= 0; i-- {
		if is(&l.t.steps[i]) {
			return i
		}
	}
	return -1
}

// isCall is for first and last.
func isCall(nr uint16) func(s *step) bool {
	return func(s *step) bool { return s.nr == nr }
}

// ends says of each step where the statement ends that it belongs to: the last step of the outermost Unless around it, or its own.
func ends(steps []step) []int {
	end := make([]int, len(steps))
	for i := 0; i < len(steps); {
		stop := i
		for k := i; k <= stop; k++ {
			stop = max(stop, min(k+steps[k].skip, len(steps)-1))
		}
		for ; i <= stop; i++ {
			end[i] = stop
		}
	}
	return end
}
