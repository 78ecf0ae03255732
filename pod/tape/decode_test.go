package tape

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sample has a step of every form: two execves of one environment, a register, a passed fd, relocations of two kinds, a skip.
func sample(t testing.TB) []byte {
	b := New("sample")
	cgroup := b.FD("cgroup")
	b.Clone3(Clone{Flags: unix.CLONE_PARENT, Cgroup: cgroup}, "")
	r := b.OpenAt2(Cwd, "/a", How{Flags: unix.O_PATH}, "")
	b.Unless(b.Last().Ignore(unix.ENOENT), func() {
		b.Into(r)
		b.OpenAt2(Cwd, "/b", How{Flags: unix.O_PATH}, "")
	})
	b.Close(r, "")
	b.Execve("/bin/a", []string{"a"}, []string{"A=B"}, "").Try().Ignore(unix.ENOENT)
	b.Execve("/a", []string{"a"}, []string{"A=B"}, "").Try()
	return encode(t, finish(t, b))
}

func TestDecodeRefuses(t *testing.T) {
	whole := sample(t)
	le := binary.LittleEndian
	steps := func(i int) int { return headerSize + i*stepSize }
	relocs := int(le.Uint32(whole[24:]))
	for _, c := range []struct {
		name   string
		damage func(p []byte) []byte
		want   string
	}{
		{"nothing", func(p []byte) []byte { return nil }, "0 bytes"},
		{"half a header", func(p []byte) []byte { return p[:headerSize-1] }, "47 bytes"},
		{"cut", func(p []byte) []byte { return p[:len(p)-8] }, "bytes of"},
		{"longer", func(p []byte) []byte { return append(p, 0) }, "bytes of"},
		{"too long", func(p []byte) []byte { return make([]byte, maxSize+1) }, "8388609 bytes"},
		{"magic", func(p []byte) []byte { p[0]++; return p }, "magic"},
		{"version", func(p []byte) []byte { p[4] = 2; return p }, "version 2"},
		{"machine", func(p []byte) []byte { p[8]++; return p }, "another machine"},
		{"reserved", func(p []byte) []byte { p[44] = 1; return p }, "reserved"},
		{"many steps", func(p []byte) []byte { le.PutUint32(p[20:], maxSteps+1); return p }, "16385 steps"},
		{"many fds", func(p []byte) []byte { le.PutUint32(p[40:], maxFDs+1); return p }, "4097 fds"},
		{"overlap", func(p []byte) []byte { p[24] -= 8; return p }, "where it should be"},
		{"a step more", func(p []byte) []byte { p[20]++; return p }, "where it should be"},
		{"register of a result", func(p []byte) []byte { p[steps(1)+2] = registers; return p }, "register 64"},
		{"unknown flag", func(p []byte) []byte { p[steps(0)+3] |= 0x20; return p }, "flags"},
		{"step reserved", func(p []byte) []byte { p[steps(0)+15] = 1; return p }, "reserved"},
		{"skip without the flag", func(p []byte) []byte { p[steps(0)+10] = 1; return p }, "skips 1"},
		{"skip beyond the end", func(p []byte) []byte { p[steps(1)+10] = 5; return p }, "skips 5"},
		{"unknown kind", func(p []byte) []byte { p[steps(0)+4] = 5; return p }, "kind 5"},
		{"buffer too long", func(p []byte) []byte { le.PutUint32(p[steps(0)+24+4:], 1<<31); return p }, "kind 2"},
		{"string outside", func(p []byte) []byte { le.PutUint64(p[steps(1)+24+8:], 1<<20); return p }, "kind 1"},
		{"register never written", func(p []byte) []byte { le.PutUint64(p[steps(3)+24:], 1); return p }, "kind 4"},
		{"fd that doesn't come", func(p []byte) []byte { p[steps(0)+4] = argFD; return p }, "kind 3"},
		{"second fork", func(p []byte) []byte { p[steps(1)+3] |= flagFork; return p }, "2 FORK"},
		{"relocation kind", func(p []byte) []byte { p[relocs+4] = 4; return p }, "relocation 0"},
		{"relocation askew", func(p []byte) []byte { p[relocs]++; return p }, "relocation 0"},
		{"relocation outside", func(p []byte) []byte { le.PutUint32(p[relocs:], 1<<30); return p }, "relocation 0"},
		{"relocation to no fd", func(p []byte) []byte { p[relocs+8] = 1; return p }, "relocation 0"},
		{"relocation on the last NUL", func(p []byte) []byte {
			le.PutUint32(p[relocs:], le.Uint32(p[36:])-8)
			return p
		}, "relocation 0"},
	} {
		_, err := Decode(c.damage(bytes.Clone(whole)))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Decode(whole); err != nil {
		t.Errorf("undamaged: %v", err)
	}
}

// FuzzDecode: whatever is taken encodes to the same bytes, and can be shown and linted.
func FuzzDecode(f *testing.F) {
	f.Add(sample(f))
	f.Add([]byte("tape"))
	for _, c := range constructors {
		b := New("table")
		c.call(b, b.FD("f"))
		f.Add(encode(f, finish(f, b)))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		tp, err := Decode(p)
		if err != nil {
			return
		}
		if again := encode(t, tp); !bytes.Equal(again, p) {
			t.Fatalf("% x\nbecame\n% x", p, again)
		}
		if err := tp.Explain(io.Discard, ExplainOptions{Env: true}); err != nil {
			t.Fatal(err)
		}
		Lint(tp, Rules{RootFDs: []string{"fd0"}})
	})
}
