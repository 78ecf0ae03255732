package seccomp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var testMachines = []Machine{{Arch: "amd64", Major: 6, Minor: 18}, {Arch: "arm64", Major: 6, Minor: 1}}

// edges are where 64-bit comparisons in two words go wrong, if they do.
var edges = []uint64{
	0, 1, 2, 1<<31 - 1, 1 << 31, 1<<31 + 1, 1<<32 - 2, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<33 - 1, 1 << 33, 1<<63 - 1, 1 << 63, 1<<63 + 1,
	1<<64 - 2, 1<<64 - 1, 0x00000001_80000000, 0xffffffff_00000000, 0x80000000_7fffffff,
}

var operators = []specs.LinuxSeccompOperator{
	specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpGreaterThan, specs.OpGreaterEqual,
	specs.OpMaskedEqual,
}

func ptr(n uint) *uint { return &n }

func mustCompile(t testing.TB, p *specs.LinuxSeccomp, m Machine) []unix.SockFilter {
	t.Helper()
	f, err := Compile(p, m)
	if err != nil {
		t.Fatal(err)
	}
	checkProgram(t, f.Program)
	return f.Program
}

// agree holds a program to the oracle for one call.
func agree(t testing.TB, p *specs.LinuxSeccomp, m Machine, program []unix.SockFilter, c call) {
	t.Helper()
	have, _, err := interpret(program, c)
	if err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	if want := oracle(p, m, c); have != want {
		t.Fatalf("%s, %v: the program says %#x, the profile %#x\nprofile: %+v", m.Arch, c, have, want, *p)
	}
}

// interesting gives the numbers and values at which the outcome of a profile may change.
func interesting(p *specs.LinuxSeccomp) []uint64 {
	out := slices.Clone(edges)
	for _, s := range p.Syscalls {
		for _, a := range s.Args {
			for _, v := range []uint64{a.Value, a.ValueTwo} {
				out = append(out, v-1, v, v+1, ^v, v|1<<32, v<<32, v^1<<63)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// eachNumber calls f for every number that means something on any architecture of the machine, and for some that don't.
func eachNumber(m Machine, f func(audit, number uint32)) {
	for _, x := range machines[m.Arch] {
		for n := range uint32(600) {
			f(x.audit, n|x.bit)
		}
		for _, n := range numbers {
			if v := n.on[x.column]; v >= 600 {
				f(x.audit, uint32(v)|x.bit)
			}
		}
		for _, n := range []uint32{1 << 20, x32Bit - 1, x32Bit, 0x7fffffff, 1 << 31, 1<<31 | x32Bit, 1<<32 - 2, 1<<32 - 1, 0xf0000, 0xeffff, 0xfffff} {
			f(x.audit, n)
		}
	}
	for _, audit := range []uint32{0, unix.AUDIT_ARCH_MIPS, unix.AUDIT_ARCH_AARCH64 + 1, 1<<32 - 1} {
		f(audit, 0)
		f(audit, 1)
	}
}

// Every operator with every edge, alone and two on one argument: as a rule that allows, and as one that refuses.
func TestOperatorsAtEdges(t *testing.T) {
	m := testMachines[0]
	for _, first := range operators {
		for _, v := range edges {
			for _, second := range append([]specs.LinuxSeccompOperator{""}, operators...) {
				args := []specs.LinuxSeccompArg{{Index: 1, Value: v, ValueTwo: v & 0xffffffff_7fffffff, Op: first}}
				if second != "" {
					args = append(args, specs.LinuxSeccompArg{Index: 1, Value: 1 << 32, ValueTwo: 0, Op: second})
				}
				p := &specs.LinuxSeccomp{DefaultAction: specs.ActKill, Syscalls: []specs.LinuxSyscall{
					{Names: []string{"read"}, Action: specs.ActAllow, Args: args},
					{Names: []string{"write"}, Action: specs.ActErrno, ErrnoRet: ptr(7), Args: args},
				}}
				program := mustCompile(t, p, m)
				for _, number := range []uint32{unix.SYS_READ, unix.SYS_WRITE} {
					for _, x := range interesting(p) {
						agree(t, p, m, program, call{unix.AUDIT_ARCH_X86_64, number, [6]uint64{1: x, 0: ^x}})
					}
				}
			}
		}
	}
}

// Rules on the same call that overlap: the most restrictive one wins whatever their order.
func TestSeverityDecidesNotOrder(t *testing.T) {
	m := testMachines[0]
	rules := []specs.LinuxSyscall{
		{Names: []string{"socket"}, Action: specs.ActAllow},
		{Names: []string{"socket"}, Action: specs.ActErrno, ErrnoRet: ptr(97), Args: []specs.LinuxSeccompArg{{Value: 38, Op: specs.OpEqualTo}}},
		{Names: []string{"socket"}, Action: specs.ActKillProcess, Args: []specs.LinuxSeccompArg{{Value: 30, Op: specs.OpGreaterEqual}, {Value: 33, Op: specs.OpLessThan}}},
		{Names: []string{"socket"}, Action: specs.ActLog, Args: []specs.LinuxSeccompArg{{Index: 1, Value: 3, ValueTwo: 1, Op: specs.OpMaskedEqual}}},
	}
	want := map[uint64]uint32{29: 0x7fff0000, 30: 0x80000000, 32: 0x80000000, 33: 0x7fff0000, 37: 0x7fff0000, 38: 0x00050061, 39: 0x7fff0000, 1<<32 | 38: 0x7fff0000}
	for range 24 {
		rand.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: rules}
		program := mustCompile(t, p, m)
		for family, verdict := range want {
			c := call{unix.AUDIT_ARCH_X86_64, unix.SYS_SOCKET, [6]uint64{family}}
			agree(t, p, m, program, c)
			if have, _, _ := interpret(program, c); have != verdict {
				t.Fatalf("family %#x: %#x, want %#x", family, have, verdict)
			}
		}
	}
}

// What isn't listed: other architectures are killed, newer calls answered ENOSYS where the default is a refusal.
func TestUnlisted(t *testing.T) {
	m := testMachines[0]
	for _, byDefault := range []specs.LinuxSeccompAction{specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActTrap, specs.ActLog, specs.ActTrace, specs.ActAllow} {
		for _, names := range [][]specs.Arch{nil, {specs.ArchX86}, {specs.ArchX32}, {specs.ArchX86_64, specs.ArchX86, specs.ArchX32, specs.ArchMIPS}} {
			for _, calls := range [][]string{{"read"}, {"mseal", "read"}, {"ioctl", "riscv_hwprobe"}, nil} {
				p := &specs.LinuxSeccomp{DefaultAction: byDefault, Architectures: names}
				if calls != nil {
					p.Syscalls = []specs.LinuxSyscall{{Names: calls, Action: specs.ActAllow}}
				}
				program := mustCompile(t, p, m)
				eachNumber(m, func(audit, number uint32) { agree(t, p, m, program, call{audit: audit, number: number}) })
			}
		}
	}
}

// The x32 ABI's own calls, 512 to 547, stand behind the sequence and are not newer than it. The numbers are the kernel's.
func TestX32HasCallsOfItsOwn(t *testing.T) {
	m := testMachines[0]
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX32}, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"read", "ioctl", "mseal"}, Action: specs.ActAllow},
	}}
	program := mustCompile(t, p, m)
	const allow, eperm, nosys = 0x7fff0000, 0x00050001, 0x00050026
	for number, want := range map[uint32]uint32{
		0: allow, 1: eperm, 16: allow, 462: allow, 463: nosys, 514: nosys,
		x32Bit: allow, x32Bit | 16: eperm, x32Bit | 462: allow, x32Bit | 463: nosys, x32Bit | 511: nosys, x32Bit | 512: eperm,
		x32Bit | 514: allow, x32Bit | 521: eperm, x32Bit | 547: eperm, x32Bit | 548: nosys, 1<<32 - 1: nosys,
	} {
		if have, _, _ := interpret(program, call{audit: unix.AUDIT_ARCH_X86_64, number: number}); have != want {
			t.Errorf("number %#x: %#x, want %#x", number, have, want)
		}
	}
}

// randomProfile draws a profile from r, small numbers and edges preferred so that rules overlap.
func randomProfile(r *rand.Rand, m Machine) *specs.LinuxSeccomp {
	actions := []specs.LinuxSeccompAction{specs.ActAllow, specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActTrap, specs.ActLog, specs.ActTrace}
	value := func() uint64 {
		switch r.IntN(4) {
		case 0:
			return edges[r.IntN(len(edges))]
		case 1:
			return edges[r.IntN(len(edges))] + uint64(r.IntN(5)) - 2
		case 2:
			return r.Uint64() >> r.IntN(64)
		}
		return uint64(r.IntN(8))
	}
	errno := func(a specs.LinuxSeccompAction) *uint {
		if a != specs.ActErrno && a != specs.ActTrace || r.IntN(2) == 0 {
			return nil
		}
		return ptr(uint(r.IntN(4096)))
	}
	few := []string{"socket", "clone", "read", "personality"}
	p := &specs.LinuxSeccomp{DefaultAction: actions[r.IntN(len(actions))]}
	p.DefaultErrnoRet = errno(p.DefaultAction)
	for _, x := range machines[m.Arch] {
		if r.IntN(2) == 0 {
			p.Architectures = append(p.Architectures, x.name)
		}
	}
	for range r.IntN(20) {
		s := specs.LinuxSyscall{Action: actions[r.IntN(len(actions))]}
		s.ErrnoRet = errno(s.Action)
		if r.IntN(3) == 0 {
			for range 1 + r.IntN(100) {
				s.Names = append(s.Names, numbers[r.IntN(len(numbers))].name)
			}
		} else {
			s.Names = []string{few[r.IntN(len(few))]}
		}
		one := uint(r.IntN(6))
		for range r.IntN(4) {
			a := specs.LinuxSeccompArg{Index: one, Value: value(), ValueTwo: value(), Op: operators[r.IntN(len(operators))]}
			if r.IntN(4) == 0 {
				a.Index = uint(r.IntN(6))
			}
			if r.IntN(2) == 0 {
				a.ValueTwo &= a.Value
			}
			s.Args = append(s.Args, a)
		}
		p.Syscalls = append(p.Syscalls, s)
	}
	return p
}

// try compiles a random profile and holds it to the oracle.
func try(t testing.TB, r *rand.Rand) {
	m := testMachines[r.IntN(len(testMachines))]
	p := randomProfile(r, m)
	program := mustCompile(t, p, m)
	values := interesting(p)
	pick := func() (args [6]uint64) {
		for i := range args {
			args[i] = values[r.IntN(len(values))]
		}
		return args
	}
	var calls []call
	eachNumber(m, func(audit, number uint32) {
		if r.IntN(16) == 0 {
			calls = append(calls, call{audit, number, pick()})
		}
	})
	for _, s := range p.Syscalls {
		for _, x := range machines[m.Arch] {
			number, ok := numberOn(s.Names[0], x.column)
			if !ok {
				continue
			}
			for range 24 {
				calls = append(calls, call{x.audit, number | x.bit, pick()})
			}
			// Each condition's own edges, with the others as drawn.
			for _, a := range s.Args {
				for _, v := range []uint64{a.Value - 1, a.Value, a.Value + 1, a.ValueTwo} {
					args := pick()
					for _, b := range s.Args {
						args[b.Index] = b.Value
					}
					args[a.Index] = v
					calls = append(calls, call{x.audit, number | x.bit, args})
				}
			}
		}
	}
	for _, c := range calls {
		agree(t, p, m, program, c)
	}
}

func TestRandomProfiles(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { try(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func FuzzCompile(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, ^seed)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) { try(t, rand.New(rand.NewPCG(a, b))) })
}

// A program may be long: jumps over more than a byte's distance need stepping stones.
func TestLongPrograms(t *testing.T) {
	m := testMachines[0]
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
	for i, n := range numbers {
		// Each call has conditions of its own, so that nothing is shared.
		p.Syscalls = append(p.Syscalls, specs.LinuxSyscall{Names: []string{n.name}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{
			{Index: 0, Value: uint64(i) << 20, Op: specs.OpGreaterThan}, {Index: 1, Value: uint64(i), Op: specs.OpNotEqual},
		}})
	}
	program := mustCompile(t, p, m)
	if len(program) < 2000 {
		t.Fatalf("the program has only %d instructions: it proves nothing about long jumps", len(program))
	}
	eachNumber(m, func(audit, number uint32) {
		for _, x := range []uint64{0, 5 << 20, 300 << 20, 1 << 40} {
			agree(t, p, m, program, call{audit, number, [6]uint64{x, uint64(number)}})
		}
	})

	p.Architectures = []specs.Arch{specs.ArchX86, specs.ArchX32}
	p.Syscalls = append(p.Syscalls, p.Syscalls...)
	for i := range p.Syscalls[len(numbers):] {
		s := &p.Syscalls[len(numbers)+i]
		s.Args = []specs.LinuxSeccompArg{{Index: 2, Value: uint64(i), Op: specs.OpEqualTo}, {Index: 3, Value: uint64(i), Op: specs.OpLessThan}}
	}
	if _, err := Compile(p, m); err == nil {
		t.Fatal("a profile whose program is longer than the kernel takes is compiled")
	}
}

// What a profile may not hold is refused, never ignored.
func TestRefused(t *testing.T) {
	read := func(change func(*specs.LinuxSyscall)) func(*specs.LinuxSeccomp) {
		return func(p *specs.LinuxSeccomp) { change(&p.Syscalls[0]) }
	}
	for name, change := range map[string]func(*specs.LinuxSeccomp){
		"default action":    func(p *specs.LinuxSeccomp) { p.DefaultAction = "SCMP_ACT_NONE" },
		"no default action": func(p *specs.LinuxSeccomp) { p.DefaultAction = "" },
		"notify by default": func(p *specs.LinuxSeccomp) { p.DefaultAction = specs.ActNotify },
		"errno of allow":    func(p *specs.LinuxSeccomp) { p.DefaultAction, p.DefaultErrnoRet = specs.ActAllow, ptr(1) },
		"errno 4096":        func(p *specs.LinuxSeccomp) { p.DefaultErrnoRet = ptr(4096) },
		"architecture":      func(p *specs.LinuxSeccomp) { p.Architectures = []specs.Arch{"SCMP_ARCH_VAX"} },
		"flag":              func(p *specs.LinuxSeccomp) { p.Flags = []specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_NEW_LISTENER"} },
		"flag of notify": func(p *specs.LinuxSeccomp) {
			p.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagWaitKillableRecv}
		},
		"listener":              func(p *specs.LinuxSeccomp) { p.ListenerPath = "/run/listener" },
		"listener's data":       func(p *specs.LinuxSeccomp) { p.ListenerMetadata = "x" },
		"rule without names":    read(func(s *specs.LinuxSyscall) { s.Names = nil }),
		"rule's action":         read(func(s *specs.LinuxSyscall) { s.Action = "allow" }),
		"notify":                read(func(s *specs.LinuxSyscall) { s.Action = specs.ActNotify }),
		"rule's errno":          read(func(s *specs.LinuxSyscall) { s.ErrnoRet = ptr(1) }),
		"trace's message":       read(func(s *specs.LinuxSyscall) { s.Action, s.ErrnoRet = specs.ActTrace, ptr(65536) }),
		"seventh argument":      read(func(s *specs.LinuxSyscall) { s.Args = []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}} }),
		"operator":              read(func(s *specs.LinuxSyscall) { s.Args = []specs.LinuxSeccompArg{{Op: "SCMP_CMP_LIKE"}} }),
		"operator left out":     read(func(s *specs.LinuxSyscall) { s.Args = []specs.LinuxSeccompArg{{}} }),
		"unknown in kept order": read(func(s *specs.LinuxSyscall) { s.Names, s.Action = []string{"no_such_call"}, "" }),
	} {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: specs.ActAllow}}}
		if _, err := Compile(p, testMachines[0]); err != nil {
			t.Fatal(err)
		}
		change(p)
		if f, err := Compile(p, testMachines[0]); err == nil {
			t.Errorf("%s: compiled to %d instructions", name, len(f.Program))
		}
	}
	if _, err := Compile(nil, testMachines[0]); err == nil {
		t.Error("no profile at all: compiled")
	}
	if _, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow}, Machine{Arch: "riscv64"}); err == nil {
		t.Error("an unknown machine: compiled")
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		names []specs.LinuxSeccompFlag
		want  uint64
	}{
		{nil, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{[]specs.LinuxSeccompFlag{}, 0},
		{[]specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog}, unix.SECCOMP_FILTER_FLAG_LOG},
		{[]specs.LinuxSeccompFlag{"SECCOMP_FILTER_FLAG_TSYNC", specs.LinuxSeccompFlagSpecAllow}, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	} {
		f, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: c.names}, testMachines[0])
		if err != nil {
			t.Fatal(err)
		}
		if f.Flags != c.want {
			t.Errorf("%v: flags %#x, want %#x", c.names, f.Flags, c.want)
		}
	}
}

func TestUnknownCallsAreTold(t *testing.T) {
	f, err := Compile(&specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{
		{Names: []string{"zz", "read", "no_such_call", "zz"}, Action: specs.ActErrno},
	}}, testMachines[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"no_such_call", "zz"}; !slices.Equal(f.Unknown, want) {
		t.Errorf("unknown %q, want %q", f.Unknown, want)
	}
}
