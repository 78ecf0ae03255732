package seccomp

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Filter is what seccomp(2) is called with. Filters may be shared: nobody may change one.
type Filter struct {
	Program []unix.SockFilter
	// Flags are SECCOMP_FILTER_FLAG_*.
	Flags uint64
	// Unknown are the calls that the profile names and no architecture known here has, sorted. Rules for them do nothing.
	Unknown []string
}

// maxInstructions is the kernel's limit for one program (BPF_MAXINSNS).
const maxInstructions = 4096

// Compile makes a filter of a profile in the OCI runtime spec's form (config-linux.md, Seccomp). A setting that isn't known or can't
// be honoured is an error. What a profile means is told in the package's documentation.
func Compile(p *specs.LinuxSeccomp, m Machine) (*Filter, error) {
	if p == nil {
		return nil, errors.New("compile a seccomp profile: there is none")
	}
	if p.ListenerPath != "" || p.ListenerMetadata != "" {
		return nil, errors.New("seccomp profile: a listener is not supported")
	}
	bits, err := flags(p.Flags)
	if err != nil {
		return nil, err
	}
	arches, err := listed(p.Architectures, m)
	if err != nil {
		return nil, err
	}
	byDefault, err := action(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("seccomp profile: the default: %w", err)
	}
	rules, unknown, err := byName(p.Syscalls)
	if err != nil {
		return nil, err
	}

	program := assemble(arches, rules, byDefault)
	if n := len(program); n > maxInstructions {
		return nil, fmt.Errorf("seccomp profile: its filter has %d instructions, the kernel takes %d", n, maxInstructions)
	}
	return &Filter{Program: program, Flags: bits, Unknown: unknown}, nil
}

// byName collects the rules of each system call, in the profile's order.
func byName(syscalls []specs.LinuxSyscall) (rules map[*numbered][]rule, unknown []string, err error) {
	rules = map[*numbered][]rule{}
	for i := range syscalls {
		s := &syscalls[i]
		if len(s.Names) == 0 {
			return nil, nil, fmt.Errorf("seccomp profile: rule %d names no system call", i)
		}
		r, err := newRule(s)
		if err != nil {
			return nil, nil, fmt.Errorf("seccomp profile: rule %d (%s …): %w", i, s.Names[0], err)
		}
		for _, name := range s.Names {
			n, ok := lookup(name)
			if !ok {
				unknown = append(unknown, name)
				continue
			}
			rules[n] = append(rules[n], r)
		}
	}
	slices.Sort(unknown)
	return rules, slices.Compact(unknown), nil
}

// assemble writes the whole program.
func assemble(arches []arch, rules map[*numbered][]rule, byDefault uint32) []unix.SockFilter {
	a := newAssembler()
	// Each name of the kernel's for an architecture, the machine's own first.
	var audits []uint32
	for _, x := range arches {
		if !slices.Contains(audits, x.audit) {
			audits = append(audits, x.audit)
		}
	}
	next := a.ret(unix.SECCOMP_RET_KILL_PROCESS)
	for _, audit := range slices.Backward(audits) {
		next = a.jump(unix.BPF_JEQ, audit, a.byNumber(audit, arches, rules, byDefault), next)
	}
	a.load(offsetArch, next)
	return a.program()
}

// byNumber writes what is done with the calls under one of the kernel's names of architectures.
func (a *assembler) byNumber(audit uint32, arches []arch, rules map[*numbered][]rule, byDefault uint32) label {
	x := arches[slices.IndexFunc(arches, func(x arch) bool { return x.audit == audit })]
	plain := x.outcomes(rules, byDefault)
	i := slices.IndexFunc(arches, func(x arch) bool { return x.bit == x32Bit })
	if audit == unix.AUDIT_ARCH_X86_64 && i < 0 {
		plain = append(plain, outcome{x32Bit, decision{otherwise: unix.SECCOMP_RET_KILL_PROCESS}})
		// -1 is no call of x32's but none at all: what a tracer that skips a call leaves there.
		plain = append(plain, outcome{1<<32 - 1, decision{otherwise: newer(byDefault)}})
	}
	tree := a.search(a.spans(plain))
	if audit == unix.AUDIT_ARCH_X86_64 && i >= 0 {
		marked := a.and(^uint32(x32Bit), a.search(a.apart(arches[i].outcomes(rules, byDefault), plain, tree)))
		tree = a.jump(unix.BPF_JGE, x32Bit, marked, tree)
	}
	return a.load(offsetNumber, tree)
}

// outcome is a decision for the numbers from one on, up to the next outcome's.
type outcome struct {
	from uint32
	decision
}

func (a *assembler) spans(all []outcome) []span {
	var out []span
	for _, o := range all {
		out = append(out, span{o.from, o.key(), func() label { return a.decision(o.decision) }})
	}
	return join(out)
}

// apart gives the spans of one architecture, less what is the same under another's, which leads to the other's tree. Two that have most
// of their calls in common need few instructions more than one.
func (a *assembler) apart(all, others []outcome, tree label) []span {
	var cuts []uint32
	for _, o := range slices.Concat(all, others) {
		cuts = append(cuts, o.from)
	}
	slices.Sort(cuts)
	var out []span
	for _, from := range slices.Compact(cuts) {
		one, other := at(all, from), at(others, from)
		if one.key() == other.key() {
			out = append(out, span{from, "as the other", func() label { return tree }})
			continue
		}
		out = append(out, span{from, one.key(), func() label { return a.decision(one) }})
	}
	return join(out)
}

// at gives the decision for a number.
func at(all []outcome, number uint32) decision {
	i, ok := slices.BinarySearchFunc(all, number, func(o outcome, number uint32) int { return cmp.Compare(o.from, number) })
	if !ok {
		i--
	}
	return all[i].decision
}

// newer is what a call that is newer than the profile gets.
func newer(byDefault uint32) uint32 {
	if refuses(byDefault) {
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	return byDefault
}

// outcomes gives the decisions for the numbers of one architecture, without its bit, and all behind them.
func (x arch) outcomes(rules map[*numbered][]rule, byDefault uint32) []outcome {
	calls := map[uint32][]rule{}
	newer, unnamed := decision{otherwise: newer(byDefault)}, decision{otherwise: byDefault}
	beyond := uint32(0) // the first number of the sequence behind all that the profile names
	for n, r := range rules {
		if n.on[x.column] < 0 {
			continue
		}
		number := uint32(n.on[x.column])
		calls[number] = append(calls[number], r...)
		if !x.own(number) {
			beyond = max(beyond, number+1)
		}
	}

	// Nothing changes between these.
	cuts := []uint32{0, beyond, x.ownFirst, x.ownLast + 1}
	for number := range calls {
		cuts = append(cuts, number, number+1)
	}
	slices.Sort(cuts)
	var out []outcome
	for _, number := range slices.Compact(cuts) {
		d := unnamed
		if r, ok := calls[number]; ok {
			d = decide(r, byDefault)
		} else if number >= beyond && !x.own(number) {
			d = newer
		}
		out = append(out, outcome{number, d})
	}
	return out
}
