package tape

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExplainHidesEnvironments(t *testing.T) {
	b := New("x")
	b.Execve("/a", []string{"a"}, []string{"KEY=secret"}, "")
	tp := finish(t, b)
	if text := explain(t, tp, ExplainOptions{}); strings.Contains(text, "KEY") || !strings.Contains(text, "/* 1 var */") {
		t.Error(text)
	}
	if text := explain(t, tp, ExplainOptions{Env: true}); !strings.Contains(text, `["KEY=secret"]`) {
		t.Error(text)
	}
}

// TestLabels: what registers are called says which file they hold.
func TestLabels(t *testing.T) {
	b := New("x")
	path := How{Flags: unix.O_PATH}
	rootfs := b.FD("rootfs")
	first := b.OpenAt2(rootfs, "/etc", path, "")
	b.Unless(b.Last().Ignore(unix.ENOENT), func() {
		b.Into(first)
		b.OpenAt2(rootfs, "usr/etc", path, "")
	})
	second := b.OpenAt2(rootfs, "etc", path, "")
	b.OpenAt2(first, "hosts", path, "")
	b.Close(first, "")
	b.Close(second, "")
	third := b.OpenAt2(rootfs, "etc", path, "")
	b.OpenTree(third, "", unix.OPEN_TREE_CLONE, "")
	b.OpenAt2(rootfs, ".", path, "")
	b.FSMount(b.FSOpen("tmpfs", ""), 0, "")
	b.FSMount(b.FSOpen("tmpfs", ""), 0, "")
	tp := finish(t, b)
	want := []string{"rootfs/etc", "rootfs/etc", "rootfs/etc#2", "rootfs/etc/hosts", "", "", "rootfs/etc", "copy of rootfs/etc", "rootfs",
		"tmpfs context", "tmpfs", "tmpfs context#2", "tmpfs#2"}
	for i, label := range want {
		if text := tp.Step(i).Text; label != "" && !strings.Contains(text, "= ["+label+"]") {
			t.Errorf("step %d reads %s, want a result called %s", i, text, label)
		}
	}
	if text := tp.Step(4).Text; text != "close([rootfs/etc])" {
		t.Error(text)
	}
	if text := tp.Step(5).Text; text != "close([rootfs/etc#2])" {
		t.Error(text)
	}
}

func TestNestedUnless(t *testing.T) {
	b := New("x")
	b.Unless(b.Mkdirat(Cwd, "a", 0, "one").Ignore(unix.EROFS), func() {
		b.Unless(b.Mkdirat(Cwd, "b", 0, "").Ignore(unix.EROFS), func() {
			b.Mkdirat(Cwd, "c", 0, "three")
		})
	})
	b.Chdir("/", "")
	want := `x: 4 steps
0  mkdirat(AT_FDCWD, "a", 0) or EROFS                                                # one
   unless the step above worked:
1      mkdirat(AT_FDCWD, "b", 0) or EROFS
       unless the step above worked:
2          mkdirat(AT_FDCWD, "c", 0)                                                 # three
3  chdir("/")
`
	if got := explain(t, finish(t, b), ExplainOptions{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestUnknownCall: a tape of a later podlet may hold calls that this one has no constructor for.
func TestUnknownCall(t *testing.T) {
	b := New("x")
	b.add(unix.SYS_GETRANDOM, "", b.buf([]byte("abc")), imm(3), imm(0x10))
	b.add(unix.SYS_SETSID, "", b.str("beyond its parameters"))
	tp := finish(t, b)
	if got := tp.Step(0).Text; !strings.HasPrefix(got, "syscall_") || !strings.HasSuffix(got, "({3 bytes}, 0x3, 0x10)") {
		t.Error(got)
	}
	if got := tp.Step(1).Text; got != `setsid("beyond its parameters")` {
		t.Error(got)
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestExplainTellsOfItsWriter(t *testing.T) {
	if err := finish(t, New("x")).Explain(brokenWriter{}, ExplainOptions{}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}
