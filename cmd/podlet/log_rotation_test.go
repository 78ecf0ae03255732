package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rotationsEnv says how often TestLogRotation rotates a log, logKillsEnv how often it kills podlet meanwhile.
const (
	rotationsEnv = "PODLET_TEST_ROTATIONS"
	logKillsEnv  = "PODLET_TEST_LOG_KILLS"
)

// countingScript writes the numbers from 0 on to stdout and stderr, a line each, as fast as they are taken, until a file says stop; then how many there were.
// busybox's seq writes 4 kB at a time, so that lines are cut anywhere.
const countingScript = `
count() { i=0; while ! [ -e /dev/shm/stop ]; do seq $i $((i+49999)); i=$((i+50000)); done; echo end $i; }
count & count >&2
wait`

// TestLogRotation rotates the log of a container that writes at full speed, as a kubelet does, and kills podlet and the pod's log writer at random moments of it:
// every line is in one of the files.
func TestLogRotation(t *testing.T) {
	n := newNode(t)
	rotations, kills := number(t, rotationsEnv, 1000), number(t, logKillsEnv, 20)
	if testing.Short() {
		rotations, kills = min(rotations, 100), min(kills, 4)
	}
	seed := number(t, seedEnv, uint64(time.Now().UnixNano()))
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("%s=%d", seedEnv, seed)
	p := n.newPod()
	id := p.start(container("app", "sh", "-c", countingScript))
	path, pause := n.status(id).LogPath, n.seenPod(p.id).PID
	var rotated []string
	began, failed, writers := time.Now(), 0, 0
	for i := range rotations {
		// Half a period apart from the kills of podlet.
		if due(i+rotations/kills/2, kills, rotations) {
			if pid := logWriter(pause); pid > 0 && unix.Kill(pid, unix.SIGKILL) == nil {
				writers++
			}
		}
		old := fmt.Sprint(path, ".", i)
		if err := os.Rename(path, old); err != nil {
			t.Fatal(err)
		}
		if !due(i, kills, rotations) {
			n.reopen(id)
			rotated = append(rotated, old)
			continue
		}
		killer := time.AfterFunc(time.Duration(random.IntN(2000))*time.Microsecond, func() { n.cmd.Process.Kill() })
		err := n.tryReopen(id)
		if killer.Stop() {
			n.cmd.Process.Kill()
		}
		n.cmd.Wait()
		n.conn.Close()
		if err == nil {
			rotated = append(rotated, old)
		} else {
			// The kubelet will try again in its next round. Whether pause had the new file already it can't know.
			failed++
			if err := os.Rename(old, path); err != nil {
				t.Fatal(err)
			}
		}
		n.start()
	}
	took := time.Since(began)
	n.stopCounting(id)
	n.ends(path, 2)
	began = time.Now()
	var l numberedLog
	for _, file := range rotated {
		if err := l.take(file); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.take(path); err != nil || l.ended != [2]bool{true, true} {
		t.Errorf("ends %v: %v", l.ended, err)
	}
	t.Logf("%d rotations in %v, %d kills of podlet, of which %d made a rotation fail, %d of the writer; %d and %d lines, %d MB, checked in %v",
		rotations, took, kills, failed, writers, l.next[0], l.next[1], l.bytes/1e6, time.Since(began))
}

// due says whether the i-th of so many rotations is one of so many times, evenly spread, that something is to happen.
func due(i, times, rotations uint64) bool { return (i+1)*times/rotations != i*times/rotations }

// logWriter is the pid of a pod's log writer, 0 if there is none; pause is that of its pause.
func logWriter(pause int) int {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pause, pause))
	for _, word := range strings.Fields(string(children)) {
		comm, _ := os.ReadFile("/proc/" + word + "/comm")
		if string(comm) == "podlet-logger\n" {
			pid, _ := strconv.Atoi(word)
			return pid
		}
	}
	return 0
}

// stopCounting has a counting container come to its end. (An exec that says so would be killed with it.)
func (n *node) stopCounting(container string) {
	n.t.Helper()
	stop := fmt.Sprintf("/proc/%d/root/dev/shm/stop", n.seenContainer(container).PID)
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		n.t.Fatal(err)
	}
	if s := n.exited(container); s.ExitCode != 0 {
		n.t.Fatalf("%v", s)
	}
}

// reopen tries again, as kubelets do, where the writer is still on its way to the file before: a disk may hold it up for longer than podlet waits.
func (n *node) reopen(container string) {
	n.t.Helper()
	var err error
	n.soon("the log writer gets on", func() bool {
		err = n.tryReopen(container)
		return err == nil || !contains(err.Error(), "EBUSY")
	})
	if err != nil {
		n.t.Fatalf("ReopenContainerLog: %v\n%s", err, tail(n.log(), 20))
	}
}
