package tape

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFinishRefuses(t *testing.T) {
	path := How{Flags: unix.O_PATH}
	for _, c := range []struct {
		name  string
		build func(b *Builder)
		want  string
	}{
		{"NUL in a path", func(b *Builder) { b.Chdir("/a\x00b", "") }, "step 0: a string holds a NUL byte"},
		{"NUL in an argument", func(b *Builder) { b.Execve("/a", []string{"a\x00"}, nil, "") }, "NUL"},
		{"NUL in the environment", func(b *Builder) { b.Execve("/a", []string{"a"}, []string{"A=\x00"}, "") }, "NUL"},
		{"nil fd", func(b *Builder) { b.Close(nil, "") }, "an fd is nil"},
		{"fd of no tape", func(b *Builder) { b.Close(FD{}, "") }, "an fd of another tape"},
		{"register of another tape", func(b *Builder) { b.Close(New("other").FSOpen("proc", ""), "") }, "a register of another tape"},
		{"fd without a name", func(b *Builder) { b.FD("") }, "no name"},
		{"fd twice", func(b *Builder) { b.FD("a"); b.FD("a") }, `two passed fds are named "a"`},
		{"too many fds", func(b *Builder) {
			for i := range maxFDs + 1 {
				b.FD(fmt.Sprint(i))
			}
		}, "more than 4096 passed fds"},
		{"too many steps", func(b *Builder) {
			for range maxSteps + 1 {
				b.Setsid("")
			}
		}, "16385 steps"},
		{"too large", func(b *Builder) {
			b.Execve("/a", []string{"a"}, []string{"A=" + strings.Repeat("x", maxSize)}, "")
		}, "too large"},
		{"five errnos", func(b *Builder) { b.Setsid("").Ignore(1, 2, 3, 4, 5) }, "more than 4 errnos"},
		{"errno 0", func(b *Builder) { b.Setsid("").Ignore(0) }, "errno 0"},
		{"skip too far", func(b *Builder) {
			b.Unless(b.Setsid("").Ignore(unix.EPERM), func() {
				for range maxSkip + 1 {
					b.Setsid("")
				}
			})
		}, "skips 256 steps"},
		{"Unless of a step that can't fail on", func(b *Builder) { b.Unless(b.Setsid(""), func() { b.Setsid("") }) }, "never run"},
		{"Unless of an earlier step", func(b *Builder) {
			ref := b.Setsid("").Ignore(unix.EPERM)
			b.Setsid("")
			b.Unless(ref, func() {})
		}, "isn't the last one"},
		{"Last of nothing", func(b *Builder) { b.Last().Try() }, "without steps"},
		{"Into without a step", func(b *Builder) { b.Into(b.FSOpen("proc", "")) }, "without a step that follows"},
		{"use after close", func(b *Builder) { r := b.FSOpen("proc", ""); b.Close(r, ""); b.Fchdir(r, "") }, "no earlier step fills"},
		{"use outside of the Unless", func(b *Builder) {
			var r Reg
			b.Unless(b.Setsid("").Ignore(unix.EPERM), func() { r = b.FSOpen("proc", "") })
			b.Close(r, "")
		}, "only an Unless"},
		{"Into after close", func(b *Builder) {
			r := b.FSOpen("proc", "")
			b.Close(r, "")
			b.Into(r)
			b.FSOpen("proc", "")
		}, "an earlier step closed"},
		{"out of registers", func(b *Builder) {
			for range registers + 1 {
				b.FSOpen("proc", "")
			}
		}, "more than 64 registers"},
		{"two forks", func(b *Builder) { b.Clone3(Clone{}, ""); b.Clone3(Clone{}, "") }, "2 FORK steps"},
		{"a register in a struct", func(b *Builder) { b.Clone3(Clone{Cgroup: b.OpenAt2(Cwd, "/", path, "")}, "") }, "must be a passed one"},
		{"mode without O_CREAT", func(b *Builder) { b.OpenAt2(Cwd, "/", How{Mode: 0o600}, "") }, "creates nothing"},
		{"write of nothing", func(b *Builder) { b.Write(Num(1), nil, "") }, "nothing"},
		{"ioctl of nothing", func(b *Builder) { b.IoctlBuf(Num(1), 1, nil, "") }, "empty struct"},
		{"no argv", func(b *Builder) { b.Execve("/a", nil, nil, "") }, "without argv[0]"},
		{"soft above hard", func(b *Builder) { b.Prlimit(0, 2, 1, "") }, "above the hard limit"},
		{"no filter", func(b *Builder) { b.Seccomp(0, nil, "") }, "0 instructions"},
		{"long filter", func(b *Builder) { b.Seccomp(0, make([]unix.SockFilter, 4097), "") }, "4097 instructions"},
	} {
		b := New("container web/nginx")
		c.build(b)
		_, err := b.Finish()
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "tape of container web/nginx: ") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFirstMistakeWins(t *testing.T) {
	b := New("x")
	b.Chdir("\x00", "")
	b.FD("")
	if _, err := b.Finish(); err == nil || !strings.Contains(err.Error(), "NUL") {
		t.Errorf("%v", err)
	}
}

func TestFinishTwice(t *testing.T) {
	b := New("x")
	finish(t, b)
	if _, err := b.Finish(); err == nil {
		t.Error("a finished builder gave a second tape")
	}
}

// TestRegistersAreReused: a tape opens any number of fds, one after the other, where each open may fail or be skipped.
func TestRegistersAreReused(t *testing.T) {
	b := New("masks")
	path := How{Flags: unix.O_PATH}
	for i := range 10 * registers {
		at := b.OpenAt2(Cwd, fmt.Sprint("/a", i), path, "")
		b.Unless(b.Last().Ignore(unix.ENOENT), func() {
			dir := b.OpenAt2(Cwd, fmt.Sprint("/b", i), path, "")
			b.Last().Ignore(unix.ENOENT)
			b.Mkdirat(dir, "c", 0o755, "").Ignore(unix.EBADF)
			b.Close(dir, "").Ignore(unix.EBADF)
			b.OpenAt2(Cwd, "/left/open", path, "")
			b.Into(at)
			b.OpenAt2(Cwd, fmt.Sprint("/a", i), path, "")
		})
		b.Fchdir(at, "")
		b.Close(at, "")
	}
	tp := finish(t, b)
	most := 0
	for _, s := range tp.steps {
		most = max(most, s.dst)
	}
	if most > 2 {
		t.Errorf("%d registers for three fds at a time", most+1)
	}
	// Into: both ways store into the register that is used behind them.
	if first, other, use := tp.steps[0], tp.steps[5], tp.steps[6]; first.dst != other.dst || uint64(first.dst) != use.args[0].value {
		t.Errorf("opened into %d or %d, used from %d", first.dst, other.dst, use.args[0].value)
	}
	encode(t, tp)
}

// TestNothingIsFreedTooEarly: a register closed only where a step failed stays taken.
func TestNothingIsFreedTooEarly(t *testing.T) {
	b := New("x")
	kept := b.FSOpen("proc", "")
	b.Unless(b.Setsid("").Ignore(unix.EPERM), func() { b.Close(kept, "") })
	other := b.FSOpen("sysfs", "")
	b.FSConfigCreate(kept, "")
	b.FSConfigCreate(other, "")
	tp := finish(t, b)
	if tp.steps[0].dst == tp.steps[3].dst {
		t.Errorf("both contexts are in register %d", tp.steps[0].dst)
	}
}

// TestTriesShareTheirData: a try more costs its step and its path, not another environment.
func TestTriesShareTheirData(t *testing.T) {
	env := []string{"LARGE=" + strings.Repeat("x", 100000)}
	build := func(tries int) int {
		b := New("x")
		for i := range tries {
			b.Execve(fmt.Sprintf("/p%d", i), []string{"p"}, env, "").Try().Ignore(unix.ENOENT)
		}
		return len(encode(t, finish(t, b)))
	}
	if grew := build(20) - build(10); grew > 10*(stepSize+16) {
		t.Errorf("ten tries more take %d bytes", grew)
	}
}

func TestSameCallsSameBytes(t *testing.T) {
	for _, c := range constructors {
		if !bytes.Equal(encode(t, c.tape(t)), encode(t, c.tape(t))) {
			t.Errorf("%s gives two tapes", c.name)
		}
	}
}

func TestFDsKeepTheirOrder(t *testing.T) {
	b := New("x")
	b.FD("b")
	b.FD("a")
	tp := finish(t, b)
	if want := []string{"b", "a"}; !slices.Equal(tp.FDs(), want) || tp.Name() != "x" || tp.Fork() != -1 {
		t.Errorf("%v, %q, fork %d", tp.FDs(), tp.Name(), tp.Fork())
	}
	tp.FDs()[0] = "changed"
	if tp.FDs()[0] != "b" {
		t.Error("a caller changed the tape")
	}
}
