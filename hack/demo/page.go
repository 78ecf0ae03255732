package main

import (
	"fmt"
	"io"
	"os"
)

// page is what the demo prints: titles, what is seen, and checks.
type page struct {
	w              io.Writer
	color          bool
	titles         int
	checks, failed int
}

func newPage(f *os.File) *page {
	stat, err := f.Stat()
	terminal := err == nil && stat.Mode()&os.ModeCharDevice != 0
	return &page{w: f, color: terminal && os.Getenv("NO_COLOR") == ""}
}

func (p *page) paint(code, text string) string {
	if !p.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// title begins a scene.
func (p *page) title(text string) {
	p.titles++
	fmt.Fprintf(p.w, "\n%s\n", p.paint("1", fmt.Sprintf("%d. %s", p.titles, text)))
}

// line shows something that is no check.
func (p *page) line(format string, args ...any) {
	fmt.Fprintf(p.w, "     %s\n", fmt.Sprintf(format, args...))
}

// check shows a claim and whether it held.
func (p *page) check(held bool, format string, args ...any) {
	p.checks++
	mark := p.paint("32", "ok  ")
	if !held {
		p.failed++
		mark = p.paint("31;1", "FAIL")
	}
	fmt.Fprintf(p.w, "%s %s\n", mark, fmt.Sprintf(format, args...))
}
