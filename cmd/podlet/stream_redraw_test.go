package main

import (
	"testing"
	"time"

	"podlet/hack/streamclient"
)

// TestAttachRedraw: kubectl attach sends a size that is off by one and then its own, and what runs on the terminal draws anew, though that size is what
// the terminal had.
func TestAttachRedraw(t *testing.T) {
	n := commonNode(t)
	config := withStdin(container("app", "sh", "-c", "trap 'echo redrawn' WINCH; echo ready; while :; do sleep 0.05; done"), false)
	config.Tty = true
	c := n.newPod().start(config)
	n.says(c, "ready\r") // a terminal ends its lines so
	for _, transport := range []streamclient.Transport{streamclient.SPDY, streamclient.WebSocketV5} {
		for range 10 {
			s := n.streamAttach(transport, c, streamclient.Want{Stdin: true, Stdout: true, TTY: true})
			s.Resize(101, 31)
			s.Resize(100, 30)
			newTranscript(t, s.Stdout).until("redrawn")
			time.Sleep(200 * time.Millisecond) // for what else it says of these sizes: it is not the next one's
			s.Close()
		}
	}
}
