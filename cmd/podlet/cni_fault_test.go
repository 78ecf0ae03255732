package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// tiny is a plugin that gives every pod an address that leads nowhere, writes down how it was called, and does what the test has put there for it.
const tiny = `#!/bin/sh
dir=DIR
cat >$dir/input-$CNI_COMMAND
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS" >>$dir/calls
[ ! -e $dir/do-$CNI_COMMAND ] || . $dir/do-$CNI_COMMAND
[ $CNI_COMMAND != ADD ] || cat $dir/result
`

// tinyNode is a node whose one plugin is tiny.
func tinyNode(t *testing.T, version string, flags ...string) *node {
	t.Helper()
	n := cniNode(t, fmt.Sprintf(`{"cniVersion":%q,"name":"tiny","plugins":[{"type":"tiny","capabilities":{"ipRanges":true}}]}`, version), flags...)
	n.installTiny()
	n.put(filepath.Join(n.cniWork(), "result"), `{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"0a:00:00:00:00:01","sandbox":"/x"}],
		"ips":[{"address":"fd00:10:9::3/64","gateway":"fd00:10:9::1","interface":0},{"address":"10.9.2.3/24","interface":0},{"address":"10.9.2.4/24","interface":0}]}`, 0o644)
	return n
}

func (n *node) installTiny() {
	n.t.Helper()
	n.put(filepath.Join(n.cniBin(), "tiny"), strings.Replace(tiny, "DIR", n.cniWork(), 1), 0o755)
}

// tinyDoes makes the plugin do something more at a verb; "" takes that back.
func (n *node) tinyDoes(verb, what string) {
	n.t.Helper()
	file := filepath.Join(n.cniWork(), "do-"+verb)
	if what != "" {
		n.put(file, what+"\n", 0o644)
		return
	}
	if err := os.Remove(file); err != nil {
		n.t.Fatal(err)
	}
}

// tinyCalls counts calls that begin so.
func (n *node) tinyCalls(prefix string) int {
	text, _ := os.ReadFile(filepath.Join(n.cniWork(), "calls"))
	count := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, prefix) {
			count++
		}
	}
	return count
}

// TestCNIStatusOfAPod: addresses are told in the plugins' order, and are in the pod's /etc/hosts; the kubelet's CIDR reaches the plugin, after a restart too.
func TestCNIStatusOfAPod(t *testing.T) {
	n := tinyNode(t, "1.0.0")
	if _, err := n.UpdateRuntimeConfig(n.ctx(), &cri.UpdateRuntimeConfigRequest{RuntimeConfig: &cri.RuntimeConfig{NetworkConfig: &cri.NetworkConfig{PodCidr: "10.9.2.0/24, fd00:10:9::/64"}}}); err != nil {
		t.Fatal(err)
	}
	_, err := n.UpdateRuntimeConfig(n.ctx(), &cri.UpdateRuntimeConfigRequest{RuntimeConfig: &cri.RuntimeConfig{NetworkConfig: &cri.NetworkConfig{PodCidr: "10.9.2.0/24,all"}}})
	n.fails(err, codes.InvalidArgument, "all")
	n.terminate()
	n.importImages()
	n.start()
	p := n.newPod()
	want := []string{"fd00:10:9::3", "10.9.2.3", "10.9.2.4"}
	if got := n.addresses(p.id); !slices.Equal(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
	hosts, _ := n.exec(p.start(container("app", "sleep", "1000")), "cat", "/etc/hosts")
	for _, ip := range want {
		if !strings.Contains(hosts, ip) {
			t.Errorf("/etc/hosts lacks %s: %q", ip, hosts)
		}
	}
	input, _ := os.ReadFile(n.cniWork() + "/input-ADD")
	if !strings.Contains(string(input), `[[{"subnet":"10.9.2.0/24"}],[{"subnet":"fd00:10:9::/64"}]]`) {
		t.Errorf("the plugin was given %s", input)
	}
	d := n.described()["cni"].(map[string]any)
	if d["file"] != "10-test.conflist" || d["network"] != "tiny" || fmt.Sprint(d["plugins"]) != "[tiny]" || d["pods"] != 1.0 || fmt.Sprint(d["podCIDRs"]) != "[10.9.2.0/24 fd00:10:9::/64]" {
		t.Errorf("%v", d)
	}
}

// TestCNIConditions: what is amiss stands in the node's network condition, with the name of the file or the plugin.
func TestCNIConditions(t *testing.T) {
	n := tinyNode(t, "1.1.0")
	is := func(want ...string) {
		t.Helper()
		n.soon(fmt.Sprintf("the condition says %q", want), func() bool {
			c := n.condition()
			for _, w := range want {
				if !strings.Contains(c.Message, w) {
					return false
				}
			}
			return c.Status == (len(want) == 0) && (c.Status || c.Reason == "NetworkPluginNotReady")
		})
	}
	is()
	n.configure("05-wrong.conflist", "{")
	is("05-wrong.conflist")
	_, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("wrong")})
	n.fails(err, codes.Unavailable, "05-wrong.conflist")
	n.unconfigure("05-wrong.conflist")
	is()
	if err := os.Remove(n.cniBin() + "/tiny"); err != nil {
		t.Fatal(err)
	}
	is("10-test.conflist", `"tiny"`, n.cniBin())
	n.installTiny()
	is()
	n.tinyDoes("STATUS", `echo '{"code":50,"msg":"no agent"}'; exit 1`)
	// A change of the configuration asks at once; else it is within seconds.
	n.configure("10-test.conflist", `{"cniVersion":"1.1.0","name":"tiny2","plugins":[{"type":"tiny"}]}`)
	is("CNI STATUS by plugin tiny of 10-test.conflist", "no agent", "code 50")
}

// TestCNIIsSlow gives up at any moment of an ADD: the name is free at once, the same call then succeeds at the first try, and nothing is left.
func TestCNIIsSlow(t *testing.T) {
	n := tinyNode(t, "1.0.0")
	config := n.sandbox("slow")
	for _, after := range []time.Duration{5, 20, 50, 100, 200} {
		n.tinyDoes("ADD", "sleep 1000")
		ctx, cancel := context.WithTimeout(n.ctx(), after*time.Millisecond)
		_, err := n.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("after %d ms: %v", after, err)
		}
		n.tinyDoes("ADD", "")
		if err := n.removePodErr(n.runAgain(config)); err != nil {
			t.Error(err)
		}
	}
	n.soon("nothing is owed", func() bool { return len(n.attachments()) == 0 })
	if add, del := n.tinyCalls("ADD"), n.tinyCalls("DEL"); del < 5 || del < add {
		t.Errorf("%d ADDs, %d DELs", add, del)
	}

	// Two calls for one name share what comes of it.
	n.tinyDoes("ADD", `while [ ! -e $dir/go ]; do sleep 0.01; done`)
	before := n.tinyCalls("ADD")
	var ids [2]string
	var calls sync.WaitGroup
	for i := range ids {
		calls.Go(func() {
			r, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: config})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = r.PodSandboxId
		})
	}
	n.soon("the plugin runs", func() bool { return n.tinyCalls("ADD") > before })
	n.soon("both calls are there", func() bool { return strings.Count(n.stacks(), "pod.(*flights).do(") == len(ids) })
	n.put(n.cniWork()+"/go", "", 0o644)
	calls.Wait()
	if ids[0] != ids[1] || n.tinyCalls("ADD") != before+1 {
		t.Errorf("pods %q, %d ADDs", ids, n.tinyCalls("ADD")-before)
	}
}

// runAgain repeats a call whose caller has given up. A plugin that came late to it may have been told already not to sleep, and the pod be made before podlet
// heard that nobody waits for it: then that is the one.
func (n *node) runAgain(config *cri.PodSandboxConfig) string {
	n.t.Helper()
	r, err := n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: config})
	if status.Code(err) == codes.AlreadyExists {
		ready := &cri.PodSandboxFilter{State: &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_READY}}
		list, listErr := n.ListPodSandbox(n.ctx(), &cri.ListPodSandboxRequest{Filter: ready})
		if listErr == nil && len(list.Items) == 1 && len(n.addresses(list.Items[0].Id)) == 3 {
			return list.Items[0].Id
		}
	}
	if err != nil {
		n.t.Fatalf("the same call again: %v", err)
	}
	return r.PodSandboxId
}

// TestCNITimeout: a plugin that hangs is ended at its deadline, and the error says which, when, and whose time it was.
func TestCNITimeout(t *testing.T) {
	// On a busy machine no plugin need come to an end within a second: the short time is for those that hang.
	n := tinyNode(t, "1.0.0")
	usual := n.flags
	p := n.newPod()
	n.tinyDoes("ADD", "echo asking the agent >&2; sleep 1000")
	n.terminate()
	n.flags = append(slices.Clip(usual), "--cni-timeout", "1s")
	n.start()
	var err error
	n.soon("the plugin comes as far as to say something", func() bool {
		_, err = n.RunPodSandbox(n.ctx(), &cri.RunPodSandboxRequest{Config: n.sandbox("slow")})
		return err == nil || contains(err.Error(), "asking the agent")
	})
	n.fails(err, codes.DeadlineExceeded, "test/slow", "CNI ADD by plugin tiny of 10-test.conflist", "ended after", "of 1s")
	n.tinyDoes("DEL", "sleep 1000")
	tries := 0
	for err = status.Error(codes.Unknown, ""); err != nil && tries < 10; tries++ {
		_, err = n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: p.id})
	}
	if tries != 3 {
		t.Errorf("the pod is stopped after %d tries", tries)
	}
	if err := n.removePodErr(p.id); err != nil {
		t.Error(err)
	}
	if owed := n.described()["cni"].(map[string]any)["owedDELs"]; !strings.Contains(fmt.Sprint(owed), p.id) {
		t.Errorf("owed: %v", owed)
	}
	n.kill()
	n.tinyDoes("DEL", "")
	n.flags = usual
	n.start()
	n.soon("nothing is owed", func() bool { return len(n.attachments()) == 0 })
}

// TestCNIHarm removes plugins, configuration, libcni's cache and the pod's namespace in every combination, with podlet killed in between or not. The pod
// goes, and its address is free as soon as the plugins are there.
func TestCNIHarm(t *testing.T) {
	needPlugins(t)
	n := cniNode(t, "")
	for _, p := range []string{"bridge", "host-local", "portmap", "bandwidth"} {
		if err := os.Symlink(debianPlugins+"/"+p, n.cniBin()+"/"+p); err != nil {
			t.Fatal(err)
		}
	}
	n.terminate()
	n.flags = append(n.flags, "--cni-bin-dirs", n.cniBin())
	n.start()
	conf := n.cniBridge(n.cniSubnets()[0])
	for harm := range 16 {
		if testing.Short() && harm != 0b0011 && harm != 0b1111 {
			continue
		}
		// Under a name of its own: podlet may still be reading what the one before took away.
		file := fmt.Sprintf("10-%04b.conflist", harm)
		n.configure(file, conf)
		n.soon("the configuration is read", func() bool {
			return n.described()["cni"].(map[string]any)["file"] == file && n.condition().Status
		})
		p := n.newPod()
		if harm&1 != 0 {
			if err := os.Rename(n.cniBin(), n.cniBin()+".away"); err != nil {
				t.Fatal(err)
			}
		}
		if harm&2 != 0 {
			n.unconfigure(file)
		}
		if harm&4 != 0 {
			n.kill()
			n.start()
		}
		if harm&8 != 0 {
			unix.Kill(n.seenPod(p.id).PID, unix.SIGKILL)
			unix.Unmount("/var/run/netns/"+p.id, unix.MNT_DETACH)
		}
		tries := 0
		for err := error(unix.EAGAIN); err != nil && tries < 10; tries++ {
			err = n.removePodErr(p.id)
		}
		if tries > 3 {
			t.Errorf("%04b: the pod is removed after %d tries", harm, tries)
		}
		if harm&1 != 0 {
			if err := os.Rename(n.cniBin()+".away", n.cniBin()); err != nil {
				t.Fatal(err)
			}
		}
		n.configure(file, conf)
		n.soon(fmt.Sprintf("%04b: the address is free", harm), func() bool {
			n.condition() // as a kubelet does; what is missing and comes back is noticed by it
			return len(n.cniLeases()) == 0 && len(n.attachments()) == 0
		})
		n.unconfigure(file)
	}
}
