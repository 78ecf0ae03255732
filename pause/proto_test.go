package pause

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// goNumbers has Go's word for each number of proto.h, and for those of limits.h and tape.h that this package needs.
var goNumbers = map[string]uint64{
	"PROTO_VERSION": ProtocolVersion, "PROTO_MAX_FDS": maxPacketFDs, "PROTO_MAX_SIZE": maxPacketSize,
	"PROTO_MAX_PROCESSES": MaxProcesses, "PROTO_NO_FD": noFD,
	"MSG_HELLO": typeHello, "MSG_WELCOME": typeWelcome, "MSG_FDS": typeFDs, "MSG_CLONE": typeClone, "MSG_CLONED": typeCloned,
	"MSG_LIST": typeList, "MSG_PROCESS": typeProcess, "MSG_ACK": typeAck, "MSG_LOG": typeLog, "MSG_TAP": typeTap,
	"MSG_TAPPED": typeTapped, "MSG_CLOSE_STDIN": typeCloseStdin, "MSG_DONE": typeDone, "MSG_FAILED": typeFailed, "MSG_EXITED": typeExited,
	"MSG_LOG_READY": typeLogReady, "MSG_LOG_TURN": typeLogTurn, "MSG_WRITER": typeWriter, "MSG_WRITER_CGROUPS": typeWriterCgroups, "MSG_FLUSH": typeFlush,
	"CLONE_EXEC": uint64(KindExec), "CLONE_RUN": uint64(KindRun), "CLONE_PAUSE": uint64(KindPause), "CLONE_INIT": uint64(KindInit),
	"CLONE_SELF": uint64(KindSelf), "CLONE_LOG_TTY": flagLogTTY, "CLONE_STDIN_ONCE": flagStdinOnce,
	"PROCESS_RUNNING": processRunning, "PROCESS_EXITED": processExited, "FAILED_STEP_NONE": StepNone,
	"MAX_PROCESSES": MaxPods, "MAX_WRITER_CGROUPS": MaxWriterCgroups, "MAX_TAPS": MaxTaps,
	"TAPE_VERSION": TapeVersion, "TAPE_MAX_SIZE": MaxTapeSize, "TAPE_MAX_FDS": MaxTapeFDs, "TAPE_STEP_INVALID": StepInvalid,
}

var goStructs = map[string]reflect.Type{
	"msg_header": reflect.TypeFor[msgHeader](), "msg_hello": reflect.TypeFor[msgHello](), "msg_welcome": reflect.TypeFor[msgWelcome](),
	"msg_clone": reflect.TypeFor[msgClone](), "msg_cloned": reflect.TypeFor[msgCloned](), "msg_id": reflect.TypeFor[msgID](),
	"msg_tap": reflect.TypeFor[msgTap](), "msg_writer": reflect.TypeFor[msgWriter](), "msg_process": reflect.TypeFor[msgProcess](), "msg_failed": reflect.TypeFor[msgFailed](),
	"tape_status": reflect.TypeFor[tapeStatus](),
}

var (
	cDefine  = regexp.MustCompile(`(?m)^#define\s+([A-Z_0-9]+)[ \t]+\S`)
	cEnum    = regexp.MustCompile(`(?s)\benum \{(.*?)\};`)
	cName    = regexp.MustCompile(`(?m)^\s*([A-Z_0-9]+)\s*=`)
	cStruct  = regexp.MustCompile(`(?s)\bstruct (\w+) \{(.*?)\n\};`)
	cField   = regexp.MustCompile(`(\w+)(?:\[\w+\])?\s*[,;]`)
	cComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
)

// TestNumbersAreCs asks the C compiler for the value of every number and the place of every field, and finds a number or field that only one side has.
func TestNumbersAreCs(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no C compiler: gcc is not installed")
	}
	header, err := os.ReadFile("src/proto.h")
	must(t, err)
	text := cComment.ReplaceAllString(string(header), "")
	for _, name := range protoNumbers(text) {
		if _, ok := goNumbers[name]; !ok {
			t.Errorf("proto.h has %s, Go doesn't", name)
		}
	}
	fields := map[string]int{}
	for _, m := range cStruct.FindAllStringSubmatch(text, -1) {
		if goStructs[m[1]] == nil {
			t.Errorf("proto.h has struct %s, Go doesn't", m[1])
		}
		fields[m[1]] = len(cField.FindAllString(m[2], -1))
	}
	for name, want := range fields {
		if got := goStructs[name].NumField(); got != want {
			t.Errorf("struct %s has %d fields in C and %d in Go", name, want, got)
		}
	}
	got, want := cAnswers(t), goAnswers()
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("C says %q, Go %q", got[i], want[i])
		}
	}
}

func protoNumbers(text string) []string {
	var names []string
	for _, m := range cDefine.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	for _, e := range cEnum.FindAllStringSubmatch(text, -1) {
		for _, m := range cName.FindAllStringSubmatch(e[1], -1) {
			names = append(names, m[1])
		}
	}
	return names
}

var wordBorder = regexp.MustCompile("([a-z])([A-Z])")

// cFieldName is a Go field's name as C spells it.
func cFieldName(f reflect.StructField) string {
	return strings.ToLower(wordBorder.ReplaceAllString(f.Name, "${1}_$2"))
}

// questions are C expressions with Go's answers, in a fixed order.
func questions() (expressions []string, answers []uint64) {
	add := func(e string, v uint64) { expressions, answers = append(expressions, e), append(answers, v) }
	for name, v := range goNumbers {
		add(name, v)
	}
	for name, s := range goStructs {
		add("sizeof(struct "+name+")", uint64(s.Size()))
		for f := range s.Fields() {
			add(fmt.Sprintf("offsetof(struct %s, %s)", name, cFieldName(f)), uint64(f.Offset))
			add(fmt.Sprintf("sizeof(((struct %s *)0)->%s)", name, cFieldName(f)), uint64(f.Type.Size()))
		}
	}
	return expressions, answers
}

func goAnswers() []string {
	var lines []string
	expressions, answers := questions()
	for i, e := range expressions {
		lines = append(lines, fmt.Sprintf("%s = %d", e, answers[i]))
	}
	sort.Strings(lines)
	return lines
}

func cAnswers(t *testing.T) []string {
	var source bytes.Buffer
	source.WriteString("#include <stddef.h>\n#include <stdio.h>\n#include \"limits.h\"\nint main(void)\n{\n")
	expressions, _ := questions()
	for _, e := range expressions {
		fmt.Fprintf(&source, "\tprintf(\"%%s = %%lu\\n\", %q, (unsigned long)(%s));\n", e, e)
	}
	source.WriteString("}\n")
	exe := filepath.Join(t.TempDir(), "answers")
	must(t, os.WriteFile(exe+".c", source.Bytes(), 0o600))
	// -iquote: src/limits.h must not stand in for the system's.
	if out, err := exec.CommandContext(limited(t), "gcc", "-iquote", "src", "-o", exe, exe+".c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(limited(t), exe).Output()
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	sort.Strings(lines)
	return lines
}
