package main

import (
	"fmt"
	"io"
)

// page is what is printed: checks, and lines that say more.
type page struct {
	w              io.Writer
	checks, failed int
}

// line shows something that is no check.
func (p *page) line(format string, args ...any) {
	fmt.Fprintf(p.w, "     %s\n", fmt.Sprintf(format, args...))
}

// check shows a claim and whether it held.
func (p *page) check(held bool, format string, args ...any) {
	p.checks++
	mark := "ok  "
	if !held {
		p.failed++
		mark = "FAIL"
	}
	fmt.Fprintf(p.w, "%s %s\n", mark, fmt.Sprintf(format, args...))
}
