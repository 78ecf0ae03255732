package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// rowRunCNI is RunPodSandbox with CNI plugins. Its base is the same with lo only, and the same plugins run by hand beside it: what is more than that
// is what podlet adds to the plugins' own time.
const rowRunCNI = "runpod-cni"

// cniPlugins is where Debian's containernetworking-plugins are.
const cniPlugins = "/usr/lib/cni"

// cniRow has two podlets, one of them with CNI, and the plugins alone take turns. Who is first changes from round to round.
func cniRow(ctx context.Context, o options) (_ []row, err error) {
	if _, err := os.Stat(cniPlugins + "/bridge"); err != nil {
		return nil, fmt.Errorf("the row %s needs containernetworking-plugins (hack/deps.sh bench): %w", rowRunCNI, err)
	}
	dir, err := os.MkdirTemp("", "podlet-cni-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var plain, plugged bench
	defer plain.close(&err)
	if err := plain.start(ctx, o); err != nil {
		return nil, err
	}
	defer plugged.close(&err)
	hand := &byHand{dir: filepath.Join(dir, "by-hand"), bridge: "cnihand", subnet: "10.99.2.0/24"}
	conf := &byHand{dir: filepath.Join(dir, "podlet"), bridge: "cnibench", subnet: "10.99.1.0/24"}
	if err := conf.configure(); err != nil {
		return nil, err
	}
	o.flags = []string{"--network", "cni", "--cni-conf-dir", conf.dir, "--cni-bin-dirs", cniPlugins}
	if err := plugged.start(ctx, o); err != nil {
		return nil, err
	}
	var with, without []time.Duration
	for i := range warmUp + o.n {
		var pods, alone, plugins time.Duration
		turns := []func() error{
			func() (err error) { pods, err = plugged.runPod(ctx, true); return err },
			func() (err error) { alone, err = plain.runPod(ctx, true); return err },
			func() (err error) { plugins, err = hand.round(ctx, i); return err },
		}
		if i%2 == 1 {
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			if err := turn(); err != nil {
				return nil, fmt.Errorf("%w\n%s", err, plugged.node.LogTail())
			}
		}
		if i >= warmUp {
			with, without = append(with, pods), append(without, alone+plugins)
		}
	}
	return []row{againstRow(rowRunCNI, with, "RunPodSandbox with lo only and the plugins by hand", without)}, nil
}

// byHand is a network of CNI's bridge plugin with host-local, and portmap as second in the chain.
type byHand struct{ dir, bridge, subnet string }

// plugins are the configurations in the chain's order.
func (b *byHand) plugins() []map[string]any {
	return []map[string]any{
		{
			"type": "bridge", "bridge": b.bridge, "isGateway": true,
			"ipam": map[string]any{"type": "host-local", "dataDir": b.dir + "/leases", "ranges": []any{[]any{map[string]string{"subnet": b.subnet}}}},
		},
		{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
	}
}

func (b *byHand) configure() error {
	text, err := json.Marshal(map[string]any{"cniVersion": "1.0.0", "name": b.bridge, "plugins": b.plugins()})
	if err != nil {
		return err
	}
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(b.dir+"/10-bench.conflist", text, 0o644)
}

// round adds a network namespace and takes it back; what the plugins' ADD takes is what counts.
func (b *byHand) round(ctx context.Context, number int) (took time.Duration, err error) {
	sleeper := exec.CommandContext(ctx, "/bin/sleep", "1000")
	sleeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := sleeper.Start(); err != nil {
		return 0, err
	}
	defer func() {
		sleeper.Process.Kill()
		sleeper.Wait()
	}()
	netns, id := fmt.Sprintf("/proc/%d/ns/net", sleeper.Process.Pid), fmt.Sprintf("by-hand-%d", number)
	began := time.Now()
	var result []byte
	for _, p := range b.plugins() {
		if result, err = b.call(ctx, "ADD", id, netns, p, result); err != nil {
			return 0, err
		}
	}
	took = time.Since(began)
	for _, p := range slices.Backward(b.plugins()) {
		if _, err := b.call(ctx, "DEL", id, netns, p, result); err != nil {
			return 0, err
		}
	}
	return took, nil
}

func (b *byHand) call(ctx context.Context, verb, id, netns string, plugin map[string]any, result []byte) ([]byte, error) {
	plugin["cniVersion"], plugin["name"] = "1.0.0", b.bridge
	if result != nil {
		plugin["prevResult"] = json.RawMessage(result)
	}
	input, err := json.Marshal(plugin)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cniPlugins, plugin["type"].(string))
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + id, "CNI_NETNS=" + netns, "CNI_IFNAME=eth0", "CNI_PATH=" + cniPlugins}
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", path, verb, err, strings.TrimSpace(out.String()+said.String()))
	}
	return out.Bytes(), nil
}
