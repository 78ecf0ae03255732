package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

var cniAdds = flag.Int("cni-adds", 12, "ADDs during which podlet is killed again and again, in TestCNIKilled")

// podsALife is how many pods are asked for in one life of podlet at most, podsAbreast how many at a time.
const (
	podsALife   = 24
	podsAbreast = 6
)

// TestCNIKilled kills podlet again and again while it adds pods through Debian's bridge and host-local plugins, on a subnet that one leaked address would
// show in. After recovery every address of it can be given out.
//
//	go test ./cmd/podlet -run TestCNIKilled -cni-adds 1000
func TestCNIKilled(t *testing.T) {
	needPlugins(t)
	n := cniNode(t, "")
	n.configure("10-test.conflist", n.cniWhole())
	n.soon("the configuration is read", func() bool { return n.condition().Status })
	begun, made, kills, most := 0, 0, 0, 0
	for begun < *cniAdds {
		b, m := n.killWhileAdding(kills)
		begun, made, kills = begun+b, made+m, kills+1
		most = max(most, len(n.cniLeases()))
		n.start()
		n.soon("what no pod has is taken back", func() bool {
			pods, err := n.ListPodSandbox(n.ctx(), &cri.ListPodSandboxRequest{})
			return err == nil && len(pods.Items) == len(n.attachments())
		})
		n.removePods()
		n.soon("every address is free", func() bool { return len(n.cniLeases()) == 0 && len(n.attachments()) == 0 })
	}
	t.Logf("%d ADDs begun, %d pods made, podlet killed %d times, with up to %d addresses taken", begun, made, kills, most)
	if !testing.Short() {
		n.giveOutAll()
	}
}

// killWhileAdding asks for pods, several at a time, and kills podlet at a random moment before it is done; it gives how many were begun and made.
func (n *node) killWhileAdding(life int) (int, int) {
	var made atomic.Int64
	var calls sync.WaitGroup
	turns := make(chan struct{}, podsAbreast)
	killed := make(chan struct{})
	for i := range podsALife {
		calls.Go(func() {
			select {
			case turns <- struct{}{}:
				defer func() { <-turns }()
			case <-killed:
				return
			}
			r, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox(fmt.Sprintf("kill-%d-%d", life, i))})
			if err == nil {
				n.pods.add(r.PodSandboxId)
				made.Add(1)
			}
		})
	}
	// Not before something is under way; then at any moment of it.
	after := rand.IntN(podsALife) + 1
	n.soon("pods are being added", func() bool { return len(n.attachments()) >= min(after, podsAbreast) || int(made.Load()) >= after })
	n.soon("all are made but those that have their turn now", func() bool { return int(made.Load()) >= after-podsAbreast })
	time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
	// Before the connection is closed: else podlet would hear of that, and take back what is under way.
	n.cmd.Process.Kill()
	n.kill()
	close(killed)
	calls.Wait()
	return len(n.attachments()), int(made.Load())
}

// cniWhole is a /24 of which no address is a gateway's.
func (n *node) cniWhole() string {
	return fmt.Sprintf(`{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"bridge","bridge":"cnikill%d","ipam":%s}]}`, n.number, n.cniWholeIPAM())
}

func (n *node) cniWholeIPAM() string {
	return fmt.Sprintf(`{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.210.4.0/24","gateway":"10.210.5.1"}]]}`, n.cniLeaseDir())
}

// giveOutAll has host-local give out all 254 addresses, and none after that.
func (n *node) giveOutAll() {
	n.t.Helper()
	given := map[string]bool{}
	for i := range 255 {
		cmd := exec.Command(debianPlugins + "/host-local")
		cmd.Env = []string{"CNI_COMMAND=ADD", fmt.Sprintf("CNI_CONTAINERID=all-%d", i), "CNI_NETNS=/x", "CNI_IFNAME=eth0", "CNI_PATH=" + debianPlugins}
		cmd.Stdin = strings.NewReader(`{"cniVersion":"1.0.0","name":"test","ipam":` + n.cniWholeIPAM() + `}`)
		out, err := cmd.CombinedOutput()
		if i == 254 {
			if err == nil {
				n.t.Errorf("a 255th address: %s", out)
			}
			break
		}
		if err != nil {
			n.t.Errorf("%d addresses are given out, the next one: %s", i, out)
			break
		}
		given[strings.Split(strings.SplitAfter(string(out), `"address": "`)[1], `"`)[0]] = true
	}
	if len(given) != 254 {
		n.t.Errorf("%d addresses are given out", len(given))
	}
	if err := os.RemoveAll(n.cniLeaseDir()); err != nil {
		n.t.Error(err)
	}
}
