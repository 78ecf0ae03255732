package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"podlet/hack/streamclient"
)

var streamSessions = flag.Int("stream-sessions", 80, "sessions of exec and connections of port-forward in a row, a tenth of it at once, and clients killed in TestStreamsLeaveNothing, and of others; the bar is 1000")

// census is what podlet and a pod's pause have.
type census struct {
	files, goroutines, processes, cgroups int // the container's own processes, that come and go, not among them
	pauseFiles                            int
	threads                               int // podlet's; Go keeps them
	heap, resident, pauseResident         int // bytes
}

func (c census) String() string {
	return fmt.Sprintf("podlet: %3d files %3d goroutines %2d threads %5.1f MiB of heap %5.1f MiB resident; its pause: %d files %4d KiB; container: %d processes; %d cgroups of commands",
		c.files, c.goroutines, c.threads, float64(c.heap)/(1<<20), float64(c.resident)/(1<<20), c.pauseFiles, c.pauseResident>>10, c.processes, c.cgroups)
}

// kept is what there must be no more of after than before.
func (c census) kept() [5]int {
	return [5]int{c.files, c.goroutines, c.processes, c.cgroups, c.pauseFiles}
}

// leaves says whether so many sessions have left something, where there was before.
func (c census) leaves(sessions int, before census) bool {
	for i, now := range c.kept() {
		if now > before.kept()[i] {
			return true
		}
	}
	// What a session leaves is much more than 1 KiB; the heap of a podlet that rests moves, too.
	return c.heap > before.heap+2<<20+sessions<<10 || c.pauseResident > before.pauseResident+128<<10
}

// census counts what sessions cost, with the garbage of earlier ones collected.
func (n *node) census(pod, container string) (c census) {
	n.t.Helper()
	out, _ := n.exec(container, "ps", "-o", "args")
	for line := range strings.Lines(out) {
		if !slices.ContainsFunc([]string{"COMMAND", "ps -o args", "sh -c while :", "sleep 0.05"}, func(own string) bool { return strings.HasPrefix(line, own) }) {
			c.processes++
		}
	}
	for _, top := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		c.cgroups += len(glob(top + n.cgroup + "/*/exec-*"))
	}
	c.files, c.goroutines = n.openFiles(), n.goroutines()
	own, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", n.cmd.Process.Pid))
	c.threads = len(own)
	heap := heapAlloc.FindStringSubmatch(n.profile("heap?gc=1&debug=1"))
	if heap == nil {
		n.t.Fatal("podlet's profile of its heap does not say HeapAlloc")
	}
	c.heap, _ = strconv.Atoi(heap[1])
	c.resident = resident(n.cmd.Process.Pid)
	pause := n.pauseOf(pod)
	c.pauseFiles, c.pauseResident = len(openFiles(pause)), resident(pause)
	if c.pauseResident == 0 {
		n.t.Fatal("the kernel does not say what pause has in memory")
	}
	return c
}

func (n *node) pauseOf(pod string) (pid int) {
	n.t.Helper()
	pid, err := strconv.Atoi(pauseIDs()[pod[:31]])
	if err != nil {
		n.t.Fatalf("pod %s has no pause", pod)
	}
	return pid
}

// openFiles are a pause's, but for the eventfd of its logs: it makes one when a log first falls behind, and keeps it.
func openFiles(pid int) (targets []string) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, file := range files {
		if target, _ := os.Readlink(file); target != "anon_inode:[eventfd]" {
			targets = append(targets, target)
		}
	}
	return targets
}

var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

var rss = regexp.MustCompile(`(?m)^Rss: +(\d+) kB$`)

// resident is what a process has in memory, in bytes. The kernel's counters, in statm, lag by up to 64 pages.
func resident(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	found := rss.FindSubmatch(text)
	if found == nil {
		return 0
	}
	kib, _ := strconv.Atoi(string(found[1]))
	return kib << 10
}

// TestStreamsLeaveNothing: after many sessions, one after the other and at once, and after clients that were killed at every moment of one, podlet has
// what it had before (SECURITY E2).
func TestStreamsLeaveNothing(t *testing.T) {
	sessions := *streamSessions
	if testing.Short() {
		sessions /= 4
	}
	n := commonNode(t)
	p := n.newPod()
	// The one reaps whatever a killed command leaves, the other listens to clients.
	c, talks := p.start(container("app", "sh", "-c", "while :; do echo tick; sleep 0.05; done")), p.start(talker("talker"))
	p.chargedWriter() // pause keeps the files of its log writer's cgroup from the first output on
	n.serve(p.id, "tcp4", "127.0.0.1:80", echoAll)
	hello := func(i int) {
		s := n.streamExec(transports[i%len(transports)], c, streamclient.Want{Stdout: true, TTY: i%2 == 0}, "sh", "-c", "echo hello")
		if stdout, _, code, err := s.Output(); strings.TrimSpace(stdout) != "hello" || code != 0 || err != nil {
			t.Errorf("exec %d: %q, %d, %v", i, stdout, code, err)
		}
	}
	connection := func(i int) {
		f := n.openForward(p.id)
		defer f.Close()
		if got := echoed(f, i); got != fmt.Sprint(i) {
			t.Errorf("connection %d: %s", i, got)
		}
	}
	hello(0)
	connection(0)
	var before census
	n.soon("nothing is left of the first ones", func() bool {
		last := before
		before = n.census(p.id, c)
		return before.processes == 0 && before.cgroups == 0 && before.kept() == last.kept()
	})
	pauseFiles := openFiles(n.pauseOf(p.id))
	t.Logf("before:\n\t%v", before)
	for _, phase := range []struct {
		what string
		do   func()
	}{
		{"sessions of exec in a row", func() { inTurn(sessions, hello) }},
		{"sessions and connections of port-forward in a row", func() { inTurn(sessions, connection) }},
		{"of each at once, ten times", func() { n.atOnce(sessions/10, p.id, c) }},
		{"clients killed, beside others", func() {
			var others sync.WaitGroup
			others.Go(func() { inTurn(sessions/10, hello) })
			n.killClients(sessions, p.id, c, talks)
			others.Wait()
		}},
	} {
		began := time.Now()
		phase.do()
		took := time.Since(began)
		after := n.census(p.id, c)
		for deadline := time.Now().Add(hangTime); after.leaves(sessions, before); after = n.census(p.id, c) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: before:\n\t%v\nafter:\n\t%v\npodlet's files:\n%s\npause's: %q, before: %q\n%s",
					phase.what, before, after, n.listFiles(), openFiles(n.pauseOf(p.id)), pauseFiles, n.stacks())
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("%s (N = %d, %.1f s):\n\t%v", phase.what, sessions, took.Seconds(), after)
	}
}

func inTurn(times int, do func(int)) {
	for i := range times {
		do(i)
	}
}

// echoed sends a text through a connection of its own and gives what comes back.
func echoed(f *streamclient.Forward, i int) string {
	d, err := f.Dial(80)
	if err != nil {
		return err.Error()
	}
	fmt.Fprint(d, i)
	d.Close()
	text, err := io.ReadAll(d)
	if err != nil {
		return err.Error()
	}
	if said, err := d.Err(); said != "" || err != nil {
		return fmt.Sprint(said, err)
	}
	return string(text)
}

// atOnce has so many sessions of exec, and as many of port-forward with two connections each, that are all there at the same time; ten times.
func (n *node) atOnce(count int, pod, container string) {
	for range 10 {
		var there, over sync.WaitGroup
		leave := make(chan struct{})
		for i := range count {
			there.Add(2)
			over.Go(func() {
				s := n.streamExec(transports[i%len(transports)], container, streamclient.Want{Stdin: true, Stdout: true}, "sh", "-c", "for i in 1 2; do read line; echo $line; done")
				io.WriteString(s.Stdin, "a\n")
				first := make([]byte, 2)
				if _, err := io.ReadFull(s.Stdout, first); err != nil {
					n.t.Errorf("exec %d: %v", i, err)
				}
				there.Done()
				<-leave
				io.WriteString(s.Stdin, "b\n")
				if rest, _, code, err := s.Output(); rest != "b\n" || code != 0 || err != nil {
					n.t.Errorf("exec %d: %q, %d, %v", i, rest, code, err)
				}
			})
			over.Go(func() {
				f := n.openForward(pod)
				defer f.Close()
				first, err := f.Dial(80)
				if err != nil {
					n.t.Errorf("connection %d: %v", i, err)
				}
				there.Done()
				<-leave
				if got := echoed(f, i); got != fmt.Sprint(i) {
					n.t.Errorf("connection %d: %s", i, got)
				}
				if first != nil {
					first.Close()
				}
			})
		}
		there.Wait()
		close(leave)
		over.Wait()
	}
}

// killClients begins so many sessions of all kinds, eight at a time, and kills each client somewhere on its way.
func (n *node) killClients(count int, pod, container, talks string) {
	var pool sync.WaitGroup
	for worker := range min(8, count) {
		pool.Go(func() {
			for i := worker; i < count; i += 8 {
				n.killClient(pod, container, talks, i)
			}
		})
	}
	pool.Wait()
}

// killClient begins a session of one of all kinds and kills the client soon.
func (n *node) killClient(pod, c, talks string, kind int) {
	transport := transports[kind/3%len(transports)]
	wait := rand.N(5 * time.Millisecond)
	switch kind % 3 {
	case 0:
		s := n.streamExec(transport, c, streamclient.Want{Stdin: true, Stdout: true, TTY: kind%2 == 0}, "sh", "-c", "while echo here; do sleep 0.01; done")
		go io.Copy(io.Discard, s.Stdout)
		time.Sleep(wait)
		s.Kill()
	case 1:
		s := n.streamAttach(transport, talks, everything)
		go io.WriteString(s.Stdin, "to nobody\n")
		time.Sleep(wait)
		s.Kill()
	case 2:
		f := n.openForward(pod)
		for range 20 {
			go func() {
				if d, err := f.Dial(80); err == nil {
					io.WriteString(d, "to nobody")
				}
			}()
		}
		time.Sleep(wait)
		f.Kill()
	}
}
