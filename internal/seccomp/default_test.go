package seccomp

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func host(t testing.TB) Machine {
	t.Helper()
	m, err := thisMachine()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// librarys is the default profile as its own library resolves it on this machine, less what podlet withholds.
func librarys(t testing.TB, caps uint64) *specs.LinuxSeccomp {
	t.Helper()
	names := []string{}
	for i, name := range capabilities {
		if caps>>i&1 == 1 {
			names = append(names, "CAP_"+name)
		}
	}
	p, err := moby.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: names}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Syscalls {
		p.Syscalls[i].Names = slices.DeleteFunc(slices.Clone(p.Syscalls[i].Names), func(n string) bool { return n == "socketcall" })
	}
	return p
}

// The whole default filter against the oracle's reading of the library's profile, for each capability alone, none, all and some at random.
func TestDefaultIsTheLibrarys(t *testing.T) {
	m := host(t)
	relevant, err := relevantCapabilities()
	if err != nil {
		t.Fatal(err)
	}
	sets := []uint64{0, ^uint64(0), defaultCaps}
	for i := range capabilities {
		if relevant>>i&1 == 1 {
			sets = append(sets, 1<<i)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 4 {
		sets = append(sets, r.Uint64())
	}
	for _, caps := range sets {
		f, err := Default(caps, m)
		if err != nil {
			t.Fatal(err)
		}
		checkProgram(t, f.Program)
		p := librarys(t, caps)
		conditional := map[string]bool{}
		for _, s := range p.Syscalls {
			for _, name := range s.Names {
				conditional[name] = conditional[name] || len(s.Args) > 0
			}
		}
		eachNumber(m, func(audit, number uint32) { agree(t, p, m, f.Program, call{audit: audit, number: number}) })
		values := interesting(p)
		for name, is := range conditional {
			for _, x := range machines[m.Arch] {
				if number, ok := numberOn(name, x.column); ok && is {
					for _, v := range values {
						agree(t, p, m, f.Program, call{x.audit, number | x.bit, [6]uint64{v, ^v}})
					}
				}
			}
		}
	}
}

// What is always allowed must not run the filter at all on kernels that look ahead (5.11).
func TestAlwaysAllowedIsEvaluatedAhead(t *testing.T) {
	m := host(t)
	for _, caps := range []uint64{0, defaultCaps, ^uint64(0)} {
		f, err := Default(caps, m)
		if err != nil {
			t.Fatal(err)
		}
		free := 0
		for _, s := range librarys(t, caps).Syscalls {
			for _, name := range s.Names {
				for _, x := range machines[m.Arch] {
					number, ok := numberOn(name, x.column)
					if !ok || len(s.Args) > 0 || s.Action != specs.ActAllow {
						continue
					}
					free++
					if !evaluatedAhead(f.Program, x.audit, number|x.bit) {
						t.Errorf("capabilities %#x: %s (%d on %s) is allowed only by running the filter", caps, name, number, x.name)
					}
				}
			}
		}
		if free < 600 {
			t.Errorf("only %d calls are always allowed", free)
		}
	}
}

// The kernel translates the program at every start of a container, and runs it ahead for each number: both take a start's time, and both
// grow unseen. A library's new data may move the figures a little, the compiler's shape moves them a lot (once 311 and 11.6).
func TestDefaultIsShort(t *testing.T) {
	f, err := Default(defaultCaps, testMachines[0])
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.Program); n > 220 {
		t.Errorf("%d instructions, want at most 220", n)
	}
	total := 0
	for _, audit := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386} {
		for number := range uint32(lookedAt) {
			_, steps, err := interpret(f.Program, call{audit: audit, number: number})
			if err != nil {
				t.Fatal(err)
			}
			total += steps
		}
	}
	if average := float64(total) / (2 * lookedAt); average > 11.5 {
		t.Errorf("a call takes %.1f instructions on average, want at most 11.5", average)
	}
}

func verdict(t *testing.T, caps uint64, m Machine, audit, number uint32, args ...uint64) uint32 {
	t.Helper()
	f, err := Default(caps, m)
	if err != nil {
		t.Fatal(err)
	}
	c := call{audit: audit, number: number}
	copy(c.args[:], args)
	v, _, err := interpret(f.Program, c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What must hold whatever the library's data says tomorrow, on both machines.
func TestDefaultByName(t *testing.T) {
	const (
		allow = unix.SECCOMP_RET_ALLOW
		eperm = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
		nosys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
		admin = uint64(1 << unix.CAP_SYS_ADMIN)
	)
	for _, m := range testMachines {
		for _, x := range machines[m.Arch] {
			for _, c := range []struct {
				name string
				caps uint64
				args []uint64
				want uint32
			}{
				{"socket", 0, []uint64{unix.AF_INET}, allow},
				{"socket", 0, []uint64{unix.AF_ALG}, eperm},
				{"socket", ^uint64(0), []uint64{unix.AF_ALG}, eperm},
				{"socket", 0, []uint64{unix.AF_VSOCK}, eperm},
				{"socket", 0, []uint64{1<<32 | unix.AF_ALG}, eperm},
				{"socketcall", 0, []uint64{1}, eperm},
				{"clone3", 0, nil, nosys},
				{"clone3", admin, nil, allow},
				{"unshare", defaultCaps, []uint64{unix.CLONE_NEWUSER}, eperm},
				{"unshare", admin, []uint64{unix.CLONE_NEWUSER}, allow},
				{"clone", 0, []uint64{uint64(unix.SIGCHLD)}, allow},
				{"clone", 0, []uint64{unix.CLONE_NEWUSER}, eperm},
				{"clone", 0, []uint64{unix.CLONE_NEWUSER | 1<<32}, eperm},
				{"mount", defaultCaps, nil, eperm},
				{"keyctl", ^uint64(0), nil, eperm},
				{"io_uring_setup", ^uint64(0), nil, eperm},
				{"bpf", 0, nil, eperm},
				{"bpf", 1 << unix.CAP_BPF, nil, allow},
				{"execve", 0, nil, allow},
				{"exit_group", 0, nil, allow},
			} {
				number, ok := numberOn(c.name, x.column)
				if !ok {
					continue
				}
				if v := verdict(t, c.caps, m, x.audit, number|x.bit, c.args...); v != c.want {
					t.Errorf("%s: %s%#x with capabilities %#x: %#x, want %#x", x.name, c.name, c.args, c.caps, v, c.want)
				}
			}
		}
	}
}

func TestDefaultHonoursTheKernelsVersion(t *testing.T) {
	for _, c := range []struct {
		major, minor uint64
		want         uint32
	}{{3, 99, unix.SECCOMP_RET_ERRNO | 1}, {4, 7, unix.SECCOMP_RET_ERRNO | 1}, {4, 8, unix.SECCOMP_RET_ALLOW}, {4, 20, unix.SECCOMP_RET_ALLOW}, {5, 0, unix.SECCOMP_RET_ALLOW}} {
		m := Machine{Arch: "amd64", Major: c.major, Minor: c.minor}
		if v := verdict(t, 0, m, unix.AUDIT_ARCH_X86_64, 101); v != c.want { // ptrace
			t.Errorf("ptrace on %d.%d: %#x, want %#x", c.major, c.minor, v, c.want)
		}
	}
}

func TestThisMachine(t *testing.T) {
	for release, want := range map[string]Machine{"6.18.44-fc": {runtime.GOARCH, 6, 18}, "5.15-rc3": {runtime.GOARCH, 5, 15}, "10.0": {runtime.GOARCH, 10, 0}} {
		if m, err := ThisMachine(release); err != nil || m != want {
			t.Errorf("%s: %v, %v, want %v", release, m, err, want)
		}
	}
	if m, err := ThisMachine("six"); err == nil {
		t.Errorf("a release without a version is read as %v", m)
	}
	if _, err := Default(0, Machine{Arch: "riscv64"}); err == nil {
		t.Error("an unknown machine gets a filter")
	}
}

// Filters are shared by those that come to the same, and the cache doesn't grow.
func TestCache(t *testing.T) {
	m := host(t)
	a, err := Default(0, m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Default(1<<unix.CAP_CHOWN|1<<unix.CAP_KILL, m)
	if err != nil {
		t.Fatal(err)
	}
	if a != b {
		t.Error("capabilities that the profile doesn't ask for make another filter")
	}
	done := make(chan error)
	for range 2 {
		go func() {
			var err error
			for i := range uint64(2 * maxCached) {
				_, e := Default(i<<unix.CAP_SYS_MODULE, Machine{Arch: m.Arch, Major: 6, Minor: i})
				err = errors.Join(err, e)
			}
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	defaults.mu.Lock()
	defer defaults.mu.Unlock()
	if n := len(defaults.mu.filters); n > maxCached {
		t.Errorf("%d filters are kept, at most %d should be", n, maxCached)
	}
}
