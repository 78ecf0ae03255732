package machine

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// tailLines is how much of the console's end an error quotes. A kernel that panicked printed its reason and its own trace, some 40 lines, then the stacks
// of all tasks, the youngest last: of those as much, behind the reason.
const tailLines = 100

// Where the stacks begin, and the scheduler's numbers, hundreds of lines, after them.
const (
	stacks      = "task:"
	afterStacks = "Sched Debug Version"
	reason      = "Kernel panic - not syncing"
)

// explain adds to err what the emulator and the guest's console said last.
func (m *Machine) explain(err error) error {
	for _, log := range []struct{ name, file string }{{"emulator", m.config.emulator()}, {"console", m.config.console()}} {
		if said := tail(log.file, tailLines); said != "" {
			err = fmt.Errorf("%w\nthe %s's last words:\n%s", err, log.name, said)
		}
	}
	return err
}

// tail gives the last lines of a file, indented and without what could play tricks on a terminal; "" where there are none.
func tail(file string, lines int) string {
	log, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer log.Close()
	const enough = 1 << 20
	if size, err := log.Seek(0, io.SeekEnd); err == nil {
		log.Seek(max(0, size-enough), io.SeekStart)
	}
	text, err := io.ReadAll(log)
	if err != nil {
		return ""
	}
	return tailOf(string(text), lines)
}

func tailOf(text string, lines int) string {
	printable := func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}
	text = strings.TrimRight(strings.Map(printable, upTo(text, afterStacks)), "\n")
	if text == "" {
		return ""
	}
	all := strings.Split(text, "\n")
	last := all[max(0, len(all)-lines):]
	if before, after, panicked := strings.Cut(text, reason); panicked {
		why := strings.Split(before+reason+upTo(after, stacks), "\n")
		why = why[max(0, len(why)-lines):]
		if len(why)+len(last) < len(all) {
			last = append(append(why, "..."), last...)
		} else {
			last = all
		}
	}
	return "\t" + strings.Join(last, "\n\t")
}

// upTo is text up to the line that has word; all of it where none has.
func upTo(text, word string) string {
	before, _, found := strings.Cut(text, word)
	if !found {
		return text
	}
	return before[:max(0, strings.LastIndex(before, "\n"))]
}
