package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// debianPlugins is where Debian's containernetworking-plugins are.
const debianPlugins = "/usr/lib/cni"

// needPlugins skips the test on a machine without Debian's plugins; hack/deps.sh test installs them.
func needPlugins(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(debianPlugins + "/host-local"); err != nil {
		t.Skip("containernetworking-plugins is not installed: hack/deps.sh test installs it")
	}
}

// cniNode is a node whose pods are CNI's, without images: a test with containers calls importImages.
func cniNode(t *testing.T, conf string, flags ...string) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir()}
	for _, dir := range []string{n.cniConf(), n.cniBin(), n.cniWork()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.flags = append([]string{"--network", "cni", "--cni-conf-dir", n.cniConf(), "--cni-bin-dirs", n.cniBin() + "," + debianPlugins}, flags...)
	if conf != "" {
		n.configure("10-test.conflist", conf)
	}
	n.start()
	t.Cleanup(n.end)
	return n
}

func (n *node) cniConf() string { return filepath.Join(n.dir, "cni/conf") }
func (n *node) cniBin() string  { return filepath.Join(n.dir, "cni/bin") }

// cniWork is where the tests' own plugins write what they were called with, and find what they are to do.
func (n *node) cniWork() string { return filepath.Join(n.dir, "cni/work") }

func (n *node) put(path, text string, mode os.FileMode) {
	n.t.Helper()
	// In place by rename: nobody sees half of it, or executes what is still open for writing.
	if err := os.WriteFile(path+".new", []byte(text), mode); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) configure(file, text string) {
	n.t.Helper()
	n.put(filepath.Join(n.cniConf(), file), text, 0o644)
}

// unconfigure takes a configuration away.
func (n *node) unconfigure(file string) {
	n.t.Helper()
	if err := os.Remove(filepath.Join(n.cniConf(), file)); err != nil {
		n.t.Fatal(err)
	}
}

// cniBridge is a conflist of Debian's plugins with a bridge of its own, and the subnets' leases in the node's directory.
func (n *node) cniBridge(subnets ...string) string {
	var sets []any
	for _, s := range subnets {
		sets = append(sets, []any{map[string]string{"subnet": s}})
	}
	list := map[string]any{
		"cniVersion": "1.0.0", "name": "test",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": fmt.Sprintf("cnitest%d", n.number), "isGateway": true, "ipMasq": false, "hairpinMode": true,
				"ipam": map[string]any{
					"type": "host-local", "ranges": sets, "dataDir": n.cniLeaseDir(),
					"routes": []any{map[string]string{"dst": "0.0.0.0/0"}},
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}, "snat": true},
			map[string]any{"type": "bandwidth", "capabilities": map[string]bool{"bandwidth": true}},
		},
	}
	text, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		n.t.Fatal(err)
	}
	return string(text)
}

// cniSubnets are for pods of CNI plugins on this node, IPv4 first. No other node of the tests has them: a bridge that a plugin made stays, and with it the
// route to its subnet.
func (n *node) cniSubnets() []string {
	return []string{fmt.Sprintf("10.%d.%d.0/24", 200+n.number>>8, n.number&0xff), fmt.Sprintf("fd00:10:210:%x::/64", n.number)}
}

// within says whether the address is one of the subnet's.
func within(subnet, address string) bool {
	return netip.MustParsePrefix(subnet).Contains(addr(address))
}

func (n *node) cniLeaseDir() string { return filepath.Join(n.dir, "cni/leases") }

// cniLeases are the addresses that host-local has given out.
func (n *node) cniLeases() []string {
	n.t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.cniLeaseDir(), "test"))
	if err != nil && !os.IsNotExist(err) {
		n.t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if e.Name() != "lock" && !strings.HasPrefix(e.Name(), "last_reserved") {
			list = append(list, e.Name())
		}
	}
	return list
}

// attachments are the pods of which podlet has a record of CNI.
func (n *node) attachments() []string {
	n.t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.dir, "root/cni/attachments"))
	if err != nil {
		n.t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func addr(text string) netip.Addr {
	a, _ := netip.ParseAddr(text)
	return a
}

func (n *node) removePodErr(id string) error {
	_, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: id})
	return err
}

// described is what Status tells of the network.
func (n *node) described() map[string]any {
	n.t.Helper()
	r, err := n.Status(n.ctx(), &cri.StatusRequest{Verbose: true})
	if err != nil {
		n.t.Fatal(err)
	}
	var config struct{ Network map[string]any }
	if err := json.Unmarshal([]byte(r.Info["config"]), &config); err != nil {
		n.t.Fatal(err)
	}
	return config.Network
}
