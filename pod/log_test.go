package pod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"podlet/pod/spec"
)

// goneOnceSent is a caller who gives up when pause has been told of the file at path, before which the context is asked once.
type goneOnceSent struct {
	context.Context
	path  string
	asked *atomic.Int32
}

func (c goneOnceSent) Err() error {
	if _, err := os.Stat(c.path); err == nil && c.asked.Add(1) > 1 {
		return context.Canceled
	}
	return c.Context.Err()
}

// TestReopenLogUnheard: a caller that gave up puts the old file back, and the container goes on writing to that, without a line less.
func TestReopenLogUnheard(t *testing.T) {
	r := newRig(t)
	pod := r.run(t, r.sandbox("log"))
	for i := 0; !r.reopenUnheard(t, pod, fmt.Sprint("app", i)); i++ {
		t.Log("too slow: podlet waits for a second until the old file is back")
	}
}

// reopenUnheard gives false if this process was not on time with putting the old file back.
func (r *rig) reopenUnheard(t *testing.T, pod, name string) (inTime bool) {
	t.Helper()
	app := r.startIn(t, pod, r.container(name, func(c *spec.Container) {
		c.Command = []string{"/bin/sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); usleep 5000; done"}
	}))
	c, err := r.Runtime.container(limited(t), app)
	must(t, err)
	path := c.logPath()
	lines := func(least int) []string {
		ctx := limited(t)
		for {
			text, err := os.ReadFile(path)
			must(t, err)
			if list := strings.Split(strings.TrimSpace(string(text)), "\n"); len(list) >= least {
				return list
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("%s has fewer than %d lines", path, least)
			}
		}
	}
	for range 2 {
		lines(10)
		began := time.Now()
		must(t, os.Rename(path, path+".old"))
		if err := r.ReopenLog(goneOnceSent{limited(t), path, new(atomic.Int32)}, app); !errors.Is(err, context.Canceled) {
			t.Errorf("ReopenLog: %v", err)
		}
		must(t, os.Rename(path+".old", path))
		if time.Since(began) >= backTime {
			return false
		}
		for ctx := limited(t); following(); {
			if ctx.Err() != nil {
				t.Fatal("podlet doesn't come to an end with following the log's path")
			}
			time.Sleep(time.Millisecond)
		}
		lines(len(lines(1)) + 10)
	}
	for i, line := range lines(1) {
		if !strings.HasSuffix(line, fmt.Sprintf(" F %d", i)) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	return true
}

// following says that podlet will turn a log to its path, or is at it.
func following() bool {
	buf := make([]byte, 1<<20)
	return bytes.Contains(buf[:runtime.Stack(buf, true)], []byte("(*Container).follow"))
}
