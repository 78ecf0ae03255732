package tape

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Step is one step as text.
type Step struct {
	// Index counts from 0, as the status slot does.
	Index int
	// Text is the call and what may become of it.
	Text string
	// Why is what the constructor was told.
	Why string
}

func (s Step) String() string { return s.Text }

// Step is the i-th step, 0 <= i < Len. Environments show their size only.
func (t *Tape) Step(i int) Step {
	p := newPrinter(t, ExplainOptions{})
	for k := range i {
		p.pass(k)
	}
	return Step{i, p.step(i), t.steps[i].why}
}

// ExplainOptions say what an explanation shows.
type ExplainOptions struct {
	// Env shows the environments with their values, which are often secrets. Else their size is shown.
	Env bool
}

const (
	// The whys stand in a column of their own; behind a longer line at the next stop. Both are fixed, so that one
	// step's change leaves the other lines of a golden file alone.
	whyColumn = 80
	whyStop   = 10
	// bodyIndent sets off the steps of an Unless.
	bodyIndent = "    "
)

// Explain writes the tape as text, a line a step: its number, the call as strace would show it, and behind # why it is there.
// Passed fds stand in <>, fds that the tape opened in [] under the name of what was opened. "or" stands before the errnos
// that the tape goes on after. The error is w's.
func (t *Tape) Explain(w io.Writer, o ExplainOptions) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s: %d steps", t.name, len(t.steps))
	for i, name := range t.fds {
		if i == 0 {
			out.WriteString(", passed fds")
		}
		out.WriteString(" <" + name + ">")
	}
	out.WriteString("\n")

	p, depth := newPrinter(t, o), depths(t.steps)
	digits := len(strconv.Itoa(max(len(t.steps)-1, 0)))
	for i := range t.steps {
		indent := strings.Repeat(bodyIndent, depth[i])
		fmt.Fprintf(out, "%*d  %s\n", digits, i, withWhy(indent+p.step(i), t.steps[i].why))
		if t.steps[i].skip > 0 {
			fmt.Fprintf(out, "%*s  %sunless the step above worked:\n", digits, "", indent)
		}
	}
	return out.Flush()
}

func withWhy(line, why string) string {
	if why == "" {
		return line
	}
	n := utf8.RuneCountInString(line)
	column := whyColumn
	for n > column {
		column += whyStop
	}
	return line + strings.Repeat(" ", column-n) + "  # " + why
}
