package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/streamclient"
)

// A disk that takes nothing, with a terminal and people attached to it: they see what is written as it is written, whatever becomes of the log.

// teller is a container with a terminal that counts on, so many lines for each line that it gets.
const tellerBurst = 1000

func teller(name string) *cri.ContainerConfig {
	c := withStdin(container(name, "sh", "-c", fmt.Sprintf(`
		stty -echo; i=0
		while read x && [ $x = on ]; do seq $i $((i+%d)); i=$((i+%d)); done; echo end $i`, tellerBurst-1, tellerBurst)), false)
	c.Tty = true
	return c
}

// audience is a teller with those who are attached to it.
type audience struct {
	clients []*streamclient.Command
	heard   []*transcript
	next    int
}

func (n *node) audience(container string, transports ...streamclient.Transport) *audience {
	n.t.Helper()
	a := &audience{}
	for _, transport := range transports {
		c := n.streamAttach(transport, container, streamclient.Want{Stdin: true, Stdout: true, TTY: true})
		a.clients, a.heard = append(a.clients, c), append(a.heard, newTranscript(n.t, c.Stdout))
		// Its input is connected after its output is.
		a.on()
	}
	return a
}

// on has the teller count on, and waits until each client has heard it to the last line.
func (a *audience) on() {
	a.tell("on")
	a.next += tellerBurst
	for _, h := range a.heard {
		h.until(fmt.Sprint("\n", a.next-1, "\r\n"))
	}
}

func (a *audience) tell(what string) { io.WriteString(a.clients[len(a.clients)-1].Stdin, what+"\n") }

// end has the teller end, and waits until its clients know.
func (a *audience) end(t *testing.T) {
	t.Helper()
	a.tell("off")
	for i, h := range a.heard {
		h.until(fmt.Sprint("end ", a.next, "\r\n"))
		if code, err := a.clients[i].Wait(); code != 0 || err != nil {
			t.Errorf("client %d: %d, %v", i, code, err)
		}
	}
}

// TestLogFullDiskOfTerminal: clients of a terminal whose log is on a full disk, with another container's, see everything, and nobody is held up. When there is space again
// the log says in one line what it lacks.
func TestLogFullDiskOfTerminal(t *testing.T) {
	n := commonNode(t)
	dir := smallDir(t, 1<<20)
	if err := os.WriteFile(dir+"/filler", make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	p := n.newPod(func(c *cri.PodSandboxConfig) { c.LogDirectory = dir })
	id, other := p.start(teller("app")), p.start(container("other", "sh", "-c", slowScript))
	a := n.audience(id, streamclient.SPDY, streamclient.WebSocketV5, streamclient.WebSocketV4)
	for n.lost(id).LogLinesLost == 0 || n.lost(other).LogLinesLost == 0 {
		a.on()
	}
	for range 10 {
		a.on()
	}
	if out, code := n.exec(other, "echo", "hello"); out != "hello\n" || code != 0 {
		t.Errorf("an exec beside full logs: %d %q", code, out)
	}
	n.stop(other, 0)
	// What of it is still to be written would take the space.
	n.wholeLog(other)
	if err := os.Remove(dir + "/filler"); err != nil {
		t.Fatal(err)
	}
	path := n.status(id).LogPath
	n.soon("a line about what was lost", func() bool {
		a.on()
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), " podlet: the log could not be written (errno 28): lost here ")
	})
	a.end(t)
	n.exited(id)
	n.gapped(id, "\r")
}

// TestLogFrozenDiskOfTerminal: while the disk of its logs hangs a terminal's clients see what it writes, and the pod's other container goes on as a neighbour's does. When the
// disk is there again so is every line.
func TestLogFrozenDiskOfTerminal(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	disk := newDisk(t, filepath.Join(n.dir, "frozen"))
	p, elsewhere := n.newPod(func(c *cri.PodSandboxConfig) { c.LogDirectory = disk.at }), n.newPod()
	const quiet = "i=0; while ! [ -e /dev/shm/stop ]; do echo $i; i=$((i+1)); sleep 0.01; done; echo end $i"
	id, other, far := p.start(teller("app")), p.start(container("other", "sh", "-c", quiet)), elsewhere.start(container("far", "sh", "-c", quiet))
	path, otherPath, farPath := n.status(id).LogPath, n.status(other).LogPath, n.status(far).LogPath
	a := n.audience(id, streamclient.SPDY, streamclient.WebSocketV5)
	writer := p.chargedWriter()
	disk.freeze()
	n.soon("the log writer hangs", func() bool {
		a.on()
		return stateOf(writer) == "D"
	})
	was := wrote(t, n.seenContainer(other).PID)
	for range 10 {
		a.on()
	}
	n.grows(farPath)
	n.soon("the other container goes on", func() bool { return wrote(t, n.seenContainer(other).PID) > was })
	if out, code := n.exec(other, "echo", "hello"); out != "hello\n" || code != 0 {
		t.Errorf("an exec beside logs that hang: %d %q", code, out)
	}
	n.stopCounting(other)
	a.end(t)
	n.exited(id)
	disk.thaw()
	for _, l := range []struct{ path, ending string }{{path, "\r"}, {otherPath, ""}} {
		n.takeEnd(numberedLog{ending: l.ending}, l.path)
	}
	n.removePods() // its files are open
}

// stateOf is a process's state as in proc_pid_stat(5), "" where there is no such process.
func stateOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}
