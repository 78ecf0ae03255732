package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// barRow is one thing that is under way.
type barRow struct {
	label string
	// n of of bytes are done; of is -1 where nobody knows.
	n, of int64
	// note says what is being done.
	note string
	done bool
}

// bars shows how far things are. On a terminal each has a line with a bar, drawn again and again; elsewhere each is told once, when it is done.
type bars struct {
	w     io.Writer
	tty   *os.File // nil: no terminal
	drawn int      // lines on the terminal
	told  map[string]bool
}

func newBars(w io.Writer) *bars {
	b := &bars{w: w, told: map[string]bool{}}
	if f, ok := w.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			b.tty = f
		}
	}
	return b
}

// show tells the rows' state. Their labels say which is which.
func (b *bars) show(rows []barRow) {
	if b.tty == nil {
		b.tell(rows)
		return
	}
	width, height := b.size()
	rows = fitting(rows, height-1)
	var out strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", b.drawn)
	}
	for _, r := range rows {
		fmt.Fprintf(&out, "\r\x1b[K%s\n", r.line(width))
	}
	// Lines of a longer list before.
	for range b.drawn - len(rows) {
		out.WriteString("\r\x1b[K\n")
	}
	b.drawn = max(b.drawn, len(rows))
	io.WriteString(b.w, out.String())
}

func (b *bars) tell(rows []barRow) {
	for _, r := range rows {
		if r.done && !b.told[r.label] {
			b.told[r.label] = true
			fmt.Fprintf(b.w, "%s  %s  %s\n", r.label, megabytes(max(r.of, r.n)), r.note)
		}
	}
}

func (b *bars) size() (width, height int) {
	s, err := unix.IoctlGetWinsize(int(b.tty.Fd()), unix.TIOCGWINSZ)
	if err != nil || s.Col == 0 || s.Row == 0 {
		return 80, 24
	}
	return int(s.Col), int(s.Row)
}

// fitting gives at most that many rows: what is done goes first.
func fitting(rows []barRow, most int) []barRow {
	over := len(rows) - max(most, 1)
	if over <= 0 {
		return rows
	}
	var kept []barRow
	for _, r := range rows {
		if r.done && over > 0 {
			over--
			continue
		}
		kept = append(kept, r)
	}
	return kept[:min(len(kept), max(most, 1))]
}

// line is a row in at most width columns.
func (r barRow) line(width int) string {
	state := megabytes(r.n)
	if r.of >= 0 && !r.done {
		state += " of " + megabytes(r.of)
	}
	text := fmt.Sprintf("%s  %s  %s", r.label, r.bar(), strings.TrimSpace(state+"  "+r.note))
	if runes := []rune(text); len(runes) >= width {
		return string(runes[:max(width-1, 0)])
	}
	return text
}

func (r barRow) bar() string {
	const width = 24
	full := 0
	switch {
	case r.done:
		full = width
	case r.of > 0:
		full = int(min(max(r.n, 0), r.of) * width / r.of)
	}
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "]"
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
