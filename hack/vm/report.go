package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"podlet/hack/vm/wire"
)

// report writes what go test would have: a package's output only if its tests fail, unless it shows everything, and then one line for the package.
type report struct {
	out    io.Writer
	all    bool // show output as it comes
	failed bool // some package did

	failing bool     // a test of the present package failed
	hanging []string // packages whose machine hung

	buffer bytes.Buffer // the present package's output, where it isn't shown
	last   []byte       // the end of what was written, to know whether a line is open, and what the tests said last
}

// Write takes the present package's output.
func (r *report) Write(p []byte) (int, error) {
	const enough = 64
	r.last = append(r.last, p...)
	r.failing = r.failing || bytes.Contains(r.last, []byte("--- FAIL: "))
	r.last = r.last[max(0, len(r.last)-enough):]
	if r.all {
		return r.out.Write(p)
	}
	return r.buffer.Write(p)
}

// flush shows what was kept and ends an open line.
func (r *report) flush() {
	r.out.Write(r.buffer.Bytes())
	if len(r.last) > 0 && r.last[len(r.last)-1] != '\n' {
		io.WriteString(r.out, "\n")
	}
	r.forget()
}

func (r *report) forget() {
	r.buffer.Reset()
	r.last = nil
	r.failing = false
}

// ended tells of a package whose tests ran to their end.
func (r *report) ended(name string, exit wire.Exit) {
	seconds := fmt.Sprintf("%.3fs", exit.Elapsed.Seconds())
	if exit.Code == 0 && exit.Problem == "" {
		note := ""
		if strings.Contains(string(r.last), "testing: warning: no tests to run\n") {
			note = " [no tests to run]"
		}
		r.forget()
		fmt.Fprintf(r.out, "ok  \t%s\t%s%s\n", name, seconds, note)
		return
	}
	r.failed = true
	r.flush()
	if exit.Problem != "" {
		fmt.Fprintf(r.out, "%s: %s\n", name, exit.Problem)
	} else if exit.Code != 1 {
		fmt.Fprintf(r.out, "exit status %d\n", exit.Code)
	}
	fmt.Fprintf(r.out, "FAIL\t%s\t%s\n", name, seconds)
}

// lost tells of a package whose end will never be known.
func (r *report) lost(name string, err error, after time.Duration) {
	r.failed = true
	r.flush()
	fmt.Fprintf(r.out, "%v\nFAIL\t%s\t%.3fs\n", err, name, after.Seconds())
}

// hung tells of a package that will be tried once more, as its machine hung. What had failed by then has failed.
func (r *report) hung(name string, err error, after time.Duration) {
	r.failed = r.failed || r.failing
	r.hanging = append(r.hanging, name)
	r.flush()
	fmt.Fprintf(r.out, "%v\nHUNG\t%s\t%.3fs: its tests are run once more, in another machine\n", err, name, after.Seconds())
}

// unbuilt tells of a package whose tests don't build.
func (r *report) unbuilt(name, problem string) {
	r.failed = true
	if !strings.HasPrefix(problem, "# ") {
		problem = "# " + name + "\n" + problem
	}
	fmt.Fprintf(r.out, "%s\nFAIL\t%s [build failed]\n", strings.TrimRight(problem, "\n"), name)
}

// untested tells of a package that has no tests.
func (r *report) untested(name string) { fmt.Fprintf(r.out, "?   \t%s\t[no test files]\n", name) }

// finish is the end of the whole run.
func (r *report) finish() error {
	if len(r.hanging) > 0 {
		fmt.Fprintf(r.out, "a machine hung while it ran %s\n", strings.Join(r.hanging, " and "))
	}
	if !r.failed {
		return nil
	}
	fmt.Fprintln(r.out, "FAIL")
	return exitCode(1)
}
