package machine

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// tailLines is how much of the console an error quotes: a kernel's panic of some 40 lines, and the stacks of the youngest tasks where it printed them.
const tailLines = 150

// afterStacks begins the numbers of the scheduler, which the kernel prints in hundreds of lines after the tasks' stacks.
const afterStacks = "Sched Debug Version"

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
	text, _, _ = strings.Cut(text, afterStacks)
	text = strings.TrimRight(strings.Map(printable, text), "\n")
	if text == "" {
		return ""
	}
	all := strings.Split(text, "\n")
	return "\t" + strings.Join(all[max(0, len(all)-lines):], "\n\t")
}
