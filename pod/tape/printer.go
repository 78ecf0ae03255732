package tape

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// printer gives the text of a tape's steps. It walks them in order, as what a register is called depends on what was stored last.
type printer struct {
	t      *Tape
	env    bool
	relocs map[uint32]reloc
	// labels say what each register holds; open those that no step has closed since.
	labels [registers]string
	open   map[string]bool
	// kept are registers whose label stays until a step: the steps up to there are other ways to fill the same register.
	kept [registers]int
}

func newPrinter(t *Tape, o ExplainOptions) *printer {
	p := &printer{t: t, env: o.Env, relocs: map[uint32]reloc{}, open: map[string]bool{}}
	for _, r := range t.relocs {
		p.relocs[r.where] = r
	}
	for i := range p.labels {
		p.labels[i] = "r" + strconv.Itoa(i)
		p.kept[i] = -1
	}
	return p
}

// step is the text of step i. The steps before it have been printed or passed.
func (p *printer) step(i int) string {
	s := &p.t.steps[i]
	text := p.call(s)
	p.pass(i)
	return text + p.result(s)
}

// pass notes what step i stores.
func (p *printer) pass(i int) {
	s := &p.t.steps[i]
	if s.nr == unix.SYS_CLOSE {
		delete(p.open, p.held(s.args[0]))
	}
	if s.dst < 0 {
		return
	}
	if i > p.kept[s.dst] {
		label := p.label(s)
		delete(p.open, p.labels[s.dst])
		p.labels[s.dst] = p.unique(label)
	}
	if s.skip > 0 {
		p.kept[s.dst] = i + s.skip
	}
}

// unique tells two fds of the same file apart while both are open.
func (p *printer) unique(label string) string {
	name := label
	for n := 2; p.open[name]; n++ {
		name = label + "#" + strconv.Itoa(n)
	}
	p.open[name] = true
	return name
}

const contextSuffix = " context"

// label says what the result of s is.
func (p *printer) label(s *step) string {
	switch s.nr {
	case unix.SYS_OPENAT2:
		return p.joined(s)
	case unix.SYS_OPEN_TREE:
		if s.args[2].kind == argImm && s.args[2].value&unix.OPEN_TREE_CLONE != 0 {
			return "copy of " + p.joined(s)
		}
		return p.joined(s)
	case unix.SYS_FSOPEN:
		return p.text(s.args[0]) + contextSuffix
	case unix.SYS_FSMOUNT:
		context, _, _ := strings.Cut(p.held(s.args[0]), "#")
		return strings.TrimSuffix(context, contextSuffix)
	default:
		return s.name()
	}
}

// joined is the path that s opens, with what its directory is called in front.
func (p *printer) joined(s *step) string {
	dir, path := p.held(s.args[0]), p.text(s.args[1])
	switch {
	case dir == "":
		return path
	case path == "" || path == ".":
		return dir
	default:
		return strings.TrimSuffix(dir, "/") + "/" + strings.TrimLeft(path, "/")
	}
}

// held is what an fd is called, without brackets; "" for a number.
func (p *printer) held(a argument) string {
	switch {
	case a.kind == argFD && a.value < uint64(len(p.t.fds)):
		return p.t.fds[a.value]
	case a.kind == argReg && a.value < registers:
		return p.labels[a.value]
	default:
		return ""
	}
}

func (p *printer) call(s *step) string {
	c, ok := calls[s.nr]
	if !ok {
		c = call{s.name(), 0, slices.Repeat([]param{bareParam}, len(s.args))}
	}
	var args []string
	for k, text := range c.params {
		if arg := text(p, s, k); arg != "" {
			args = append(args, arg)
		}
	}
	for n := len(args); n > c.least && (args[n-1] == "0" || args[n-1] == "NULL"); n-- {
		args = args[:n-1]
	}
	// What a step says beyond the parameters of its call has no effect, but a decoded tape may say it.
	for k := len(c.params); k < len(s.args); k++ {
		if s.args[k] != imm(0) {
			args = append(args, p.bare(s.args[k]))
		}
	}
	return c.name + "(" + strings.Join(args, ", ") + ")"
}

// result is what may become of a step.
func (p *printer) result(s *step) string {
	var b strings.Builder
	if s.dst >= 0 {
		b.WriteString(" = [" + p.labels[s.dst] + "]")
	}
	if s.has(flagFork) {
		b.WriteString(" = the child plays on")
	}
	if s.has(flagPositive) {
		b.WriteString(" > 0")
	}
	var names []string
	for _, errno := range s.ignore {
		if errno != 0 {
			names = append(names, errnoName(syscall.Errno(errno)))
		}
	}
	if len(names) > 0 {
		b.WriteString(" or " + strings.Join(names, ", "))
	}
	if s.has(flagTry) {
		b.WriteString(" (a try)")
	}
	return b.String()
}

// bare is an argument by its kind alone.
func (p *printer) bare(a argument) string {
	switch a.kind {
	case argImm:
		return hex(a.value)
	case argStr:
		return quote([]byte(p.text(a)))
	case argBuf:
		return fmt.Sprintf("{%d bytes}", p.size(a))
	case argFD:
		return "<" + p.held(a) + ">"
	default:
		return "[" + p.held(a) + "]"
	}
}

// bytes are those that a buffer points to.
func (p *printer) bytes(a argument) []byte {
	if a.kind != argBuf {
		return nil
	}
	off := a.value & 0xffffffff
	return p.t.data[off : off+a.value>>32]
}

// text is the string that an argument points to.
func (p *printer) text(a argument) string {
	if a.kind != argStr {
		return ""
	}
	return p.stringAt(a.value)
}

func (p *printer) stringAt(off uint64) string {
	s, _, _ := bytes.Cut(p.t.data[off:], []byte{0})
	return string(s)
}

// size is how many bytes a buffer or a string without its end has.
func (p *printer) size(a argument) int {
	switch a.kind {
	case argBuf:
		return int(a.value >> 32)
	case argStr:
		return len(p.text(a))
	default:
		return 0
	}
}

// relocated is the passed fd whose number comes to stand at where.
func (p *printer) relocated(where uint32) string {
	r, ok := p.relocs[where]
	if !ok || r.kind == relocData {
		return ""
	}
	return "<" + p.t.fds[r.value] + ">"
}

// vector are the strings of an array, or !ok if it is none.
func (p *printer) vector(a argument) (list []string, ok bool) {
	if a.kind != argBuf || p.size(a) == 0 || p.size(a)%8 != 0 {
		return nil, false
	}
	at := uint32(a.value)
	for i := range uint32(p.size(a)/8 - 1) {
		r, ok := p.relocs[at+8*i]
		if !ok || r.kind != relocData {
			return nil, false
		}
		list = append(list, p.stringAt(r.value))
	}
	return list, true
}

// mostBytes of a string are shown.
const mostBytes = 256

func quote(b []byte) string {
	if len(b) <= mostBytes {
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("%s... /* %d bytes */", strconv.Quote(string(b[:mostBytes])), len(b))
}
