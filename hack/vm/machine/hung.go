package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrHung says that a guest stood still, its agent with it.
var ErrHung = errors.New("the guest hung")

// crashTime is how long a guest that was sent an NMI may take to print its tasks; 2 s are usual.
const crashTime = 30 * time.Second

// looks is how often it is looked for a sign of life before a guest counts as hung. One clock that runs out would do, but that of a driver that was
// stopped, or whose own machine was, runs out in one go, with the signs of life unread in the socket.
const looks = 24

// hear has the reads of the channel fail once nothing was heard in all of silence, until done is closed.
func (m *Machine) hear(silence time.Duration, done <-chan struct{}) {
	look := time.NewTicker(silence / looks)
	defer look.Stop()
	for {
		select {
		case <-done:
			return
		case <-look.C:
			if m.missed.Add(1) > looks {
				m.channel.SetReadDeadline(time.Now())
			}
		}
	}
}

// heard is to be called before each read of the channel.
func (m *Machine) heard() {
	m.missed.Store(0)
	m.channel.SetReadDeadline(time.Time{})
}

// hung ends a guest that gave no sign of life in time, and tells what can be known of why.
func (m *Machine) hung() error {
	threads := m.threads()
	err := fmt.Errorf("%w: its agent said nothing in %s", ErrHung, m.config.Silence)
	if !m.crash() {
		err = fmt.Errorf("%w, and the emulator didn't answer either", err)
	}
	return fmt.Errorf("%w\nthe emulator's threads:\n%s", err, threads)
}

// giveUp ends the machine as ctx has ended.
func (m *Machine) giveUp(ctx context.Context) {
	if ctx.Err() == context.DeadlineExceeded {
		m.crash()
	}
	m.Kill()
}

// crash has the guest's kernel panic, which prints every task's stack to the console, and returns once the emulator is gone. A guest that doesn't even react to an NMI is killed. The result says whether the emulator took the order.
func (m *Machine) crash() bool {
	m.crashed.Do(func() {
		timeout := time.AfterFunc(crashTime, m.Kill)
		defer timeout.Stop()
		m.answered = m.interrupt()
		<-m.ended
	})
	return m.answered
}

// interrupt has the emulator send the guest an NMI.
func (m *Machine) interrupt() (answered bool) {
	m.monitor.SetDeadline(time.Now().Add(crashTime))
	io.WriteString(m.monitor, `{"execute":"qmp_capabilities"} {"execute":"inject-nmi"}`)
	answers := json.NewDecoder(m.monitor)
	for returned := 0; returned < 2; {
		var answer map[string]json.RawMessage
		if answers.Decode(&answer) != nil || answer["error"] != nil {
			return false
		}
		if answer["return"] != nil {
			returned++
		}
	}
	return true
}

// threads tells of the emulator's threads, a line for each: its state, the kernel function it waits in, the CPU time it used.
func (m *Machine) threads() string {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", m.process.Pid))
	var lines []string
	for _, task := range tasks {
		status, _ := os.ReadFile(task + "/status")
		_, state, _ := strings.Cut(string(status), "State:\t")
		state, _, _ = strings.Cut(state, "\n")
		wchan, _ := os.ReadFile(task + "/wchan")
		used, _ := os.ReadFile(task + "/schedstat")
		nanoseconds, _, _ := strings.Cut(string(used), " ")
		lines = append(lines, fmt.Sprintf("\t%s: %s in %s, %s ns of CPU time", filepath.Base(task), state, wchan, nanoseconds))
	}
	return strings.Join(lines, "\n")
}
