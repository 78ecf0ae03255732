package tape

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sources is where pause's C is: it owns the format.
const sources = "../../pause/src"

// compile builds a C program of testdata together with sources of pause.
func compile(t *testing.T, program string, with ...string) string {
	t.Helper()
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no C compiler: gcc is missing")
	}
	out := filepath.Join(t.TempDir(), "program")
	args := []string{"-std=gnu17", "-O1", "-fno-strict-aliasing", "-I", sources, "-o", out, filepath.Join("testdata", program)}
	for _, file := range with {
		args = append(args, filepath.Join(sources, file))
	}
	if text, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc %v: %v\n%s", args, err, text)
	}
	return out
}

func TestNumbersAreThoseOfPause(t *testing.T) {
	text, err := exec.Command(compile(t, "numbers.c")).Output()
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		at := strings.LastIndexByte(line, ' ')
		var v uint64
		if _, err := fmt.Sscan(line[at:], &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		theirs[line[:at]] = v
	}
	ours := map[string]uint64{
		"TAPE_MAGIC": magic, "TAPE_VERSION": version, "TAPE_MAX_SIZE": maxSize, "TAPE_MAX_STEPS": maxSteps, "TAPE_MAX_FDS": maxFDs,
		"TAPE_REGISTERS": registers, "TAPE_NO_REGISTER": noRegister, "TAPE_IGNORES": ignores, "TAPE_RETRIES": 10000, "TAPE_STEP_INVALID": stepInvalid,
		"ARCH_AUDIT":   arch,
		"TAPE_ARG_IMM": argImm, "TAPE_ARG_STR": argStr, "TAPE_ARG_BUF": argBuf, "TAPE_ARG_FD": argFD, "TAPE_ARG_REG": argReg,
		"TAPE_STEP_FORK": flagFork, "TAPE_STEP_SKIP": flagSkip, "TAPE_STEP_POSITIVE": flagPositive, "TAPE_STEP_TRY": flagTry, "TAPE_STEP_RETRY": flagRetry,
		"TAPE_RELOC_DATA": relocData, "TAPE_RELOC_FD": relocFD, "TAPE_RELOC_FD64": relocFD64,
		"sizeof tape_header": headerSize, "sizeof tape_step": stepSize, "sizeof tape_reloc": relocSize,
	}
	// The layouts, as Encode writes them: a part's fields in order with their sizes.
	layout := func(part string, fields ...any) {
		at := uint64(0)
		for i := 0; i < len(fields); i += 2 {
			ours[part+"."+fields[i].(string)] = at
			at += uint64(fields[i+1].(int))
		}
		if size := ours["sizeof "+part]; at != size {
			t.Errorf("%s has %d bytes of fields, %d in all", part, at, size)
		}
	}
	layout("tape_header", "magic", 4, "version", 4, "arch", 4, "size", 4, "steps_off", 4, "nsteps", 4, "relocs_off", 4, "nrelocs", 4,
		"data_off", 4, "data_size", 4, "nfds", 4, "reserved", 4)
	layout("tape_step", "nr", 2, "dst", 1, "flags", 1, "kind", 6, "skip", 1, "reserved", 5, "ignore", 2*ignores, "arg", 6*8)
	layout("tape_reloc", "where", 4, "kind", 4, "value", 8)
	for name, v := range ours {
		if got, ok := theirs[name]; !ok || got != v {
			t.Errorf("%s: ours is %#x, pause's %#x (present: %v)", name, v, got, ok)
		}
	}
	for name := range theirs {
		if _, ok := ours[name]; !ok {
			t.Errorf("%s: not compared", name)
		}
	}
}

// TestHeaderIsCompared fails where tape.h has a name that testdata/numbers.c doesn't print.
func TestHeaderIsCompared(t *testing.T) {
	header, err := os.ReadFile(filepath.Join(sources, "tape.h"))
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := os.ReadFile("testdata/numbers.c")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(string(header), func(r rune) bool { return r != '_' && (r < '0' || r > 'z' || r > '9' && r < 'A') })
	seen := 0
	for _, word := range words {
		if !strings.HasPrefix(word, "TAPE_") || strings.HasSuffix(word, "_") {
			continue
		}
		seen++
		if !bytes.Contains(numbers, []byte(word)) {
			t.Errorf("%s of tape.h isn't compared", word)
		}
	}
	if seen < 20 {
		t.Errorf("only %d names found in tape.h", seen)
	}
}

// TestPauseTakesWhatDecodeTakes feeds tapes, whole and damaged, to tape_validate: what Encode writes it takes, and what Decode takes too.
func TestPauseTakesWhatDecodeTakes(t *testing.T) {
	program := compile(t, "validate.c", "tape.c")
	rng := rand.New(rand.NewPCG(1, 2))
	var tapes [][]byte
	for _, c := range constructors {
		p := encode(t, c.tape(t))
		tapes = append(tapes, p)
		for range 200 {
			damaged := bytes.Clone(p)
			for range 1 + rng.IntN(3) {
				damaged[rng.IntN(len(damaged))] = byte(rng.IntN(256)) >> rng.IntN(8)
			}
			tapes = append(tapes, damaged)
		}
	}
	var in bytes.Buffer
	for _, p := range tapes {
		in.Write(binary.NativeEndian.AppendUint32(nil, uint32(len(p))))
		in.Write(p[40:44])
		in.Write(p)
	}
	cmd := exec.Command(program)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	taken, refused := 0, 0
	for i, p := range tapes {
		if !lines.Scan() {
			t.Fatalf("%d answers for %d tapes", i, len(tapes))
		}
		_, err := Decode(p)
		switch {
		case err == nil && lines.Text() != "1":
			t.Errorf("Decode takes tape %d, pause refuses it", i)
		case err == nil:
			taken++
		default:
			refused++
		}
	}
	if taken < len(constructors) || refused < 100 {
		t.Errorf("%d taken, %d refused", taken, refused)
	}
}

// TestFailedStepClearsItsRegister is what the reuse of registers rests on: without it a step whose failure was ignored would leave the
// number of an fd long closed, which may be another file's by then.
func TestFailedStepClearsItsRegister(t *testing.T) {
	program := compile(t, "play.c", "tape.c", "play.c")
	b := New("registers")
	path := How{Flags: unix.O_PATH}
	old := b.OpenAt2(Cwd, "/", path, "")
	b.Close(old, "")
	gone := b.OpenAt2(Cwd, "/nonexistent/file", path, "")
	b.Last().Ignore(unix.ENOENT)
	other := b.OpenAt2(Cwd, "/", path, "")
	b.Fchdir(gone, "this must fail with EBADF")
	b.Close(other, "")
	tp := finish(t, b)
	// gone has old's register, other the number of old's fd.
	if tp.steps[0].dst != tp.steps[2].dst || tp.steps[3].dst == tp.steps[2].dst {
		t.Fatalf("registers %d, %d, %d: the closed one should be reused", tp.steps[0].dst, tp.steps[2].dst, tp.steps[3].dst)
	}
	cmd := exec.Command(program)
	cmd.Stdin = bytes.NewReader(encode(t, tp))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("4 %d\n", int(unix.EBADF)); string(out) != want {
		t.Errorf("the player ended with step and errno %q, not %q: tape_play must set registers[s->dst] to NO_FD where a step with a dst fails", out, want)
	}
}
