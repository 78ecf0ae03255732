package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// progress tells on standard error what is going on: a line for every step and, on a terminal, one that counts the seconds of the present one.
type progress struct {
	out      *os.File
	terminal bool

	mu    sync.Mutex // held for a write to out
	shown bool       // a counting line stands on the terminal
}

func newProgress(out *os.File) *progress {
	_, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS)
	return &progress{out: out, terminal: err == nil}
}

// say writes one line.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
	fmt.Fprintf(p.out, "vm: "+format+"\n", args...)
}

func (p *progress) clearLocked() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// clear removes the counting line, before something else is written to the terminal.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
}

// during counts the seconds of a step until stop is called; where there is no terminal it is silent.
func (p *progress) during(format string, args ...any) (stop func()) {
	if !p.terminal {
		return func() {}
	}
	what, began := fmt.Sprintf(format, args...), time.Now()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				p.clear()
				return
			case <-tick.C:
				p.mu.Lock()
				fmt.Fprintf(p.out, "\r\x1b[Kvm: %s … %s", what, time.Since(began).Round(time.Second))
				p.shown = true
				p.mu.Unlock()
			}
		}
	}()
	return func() { close(done); <-ended }
}
