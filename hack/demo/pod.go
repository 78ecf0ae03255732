package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/node"
	"podlet/hack/testimages/testimage"
)

// greeting is what web serves.
const greeting = "hello from web"

// bridge is the pods' bridge, the demo's own.
const bridge = "podlet_demo"

// Limits of web.
const (
	memoryLimit = 64 << 20
	cpuQuota    = 50_000
	cpuPeriod   = 100_000
)

// pair is the pod with its two containers: web serves a page, client asks for it over and over.
type pair struct {
	node        *node.Node
	id          string
	web, client string
	// ips are the pod's addresses, gateways the node's own in the same subnets, IPv4 first.
	ips, gateways []string

	// pids on the node.
	pausePID, webPID, clientPID int
}

func start(ctx context.Context, p *page, podlet, layout string) (*node.Node, error) {
	p.title("podlet serves the CRI")
	began := time.Now()
	n, err := node.Start(ctx, node.Options{
		Podlet: podlet, Images: []string{layout}, Bridge: bridge, Subnets: node.Subnets("10.97.0.0/24", "fd00:10:97::/64"),
	})
	if err != nil {
		return nil, err
	}
	version, err := n.Runtime.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return nil, errorsWithClose(err, n)
	}
	images, err := n.Images.ListImages(ctx, &cri.ListImagesRequest{})
	if err != nil {
		return nil, errorsWithClose(err, n)
	}
	p.line("%s %s, CRI %s, process %d, ready with its image after %s", version.RuntimeName, version.RuntimeVersion, version.RuntimeApiVersion, n.PID(), took(began))
	p.line("everything it has is in %s", n.Dir)
	named := len(images.Images) == 1 && len(images.Images[0].RepoTags) == 1 && images.Images[0].RepoTags[0] == testimage.BusyboxName
	p.check(named, "the one image imported is listed: %s", testimage.BusyboxName)
	return n, nil
}

func errorsWithClose(err error, n *node.Node) error {
	if closing := n.Close(); closing != nil {
		return fmt.Errorf("%w; and then: %w", err, closing)
	}
	return err
}

func podConfig(n *node.Node) *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{
		Metadata:     &cri.PodSandboxMetadata{Name: "demo", Namespace: "default", Uid: "demo-uid"},
		Hostname:     "demo",
		LogDirectory: n.LogDir(),
		Linux: &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{
			NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER},
		}},
	}
}

func containerConfig(name, script string, limits *cri.LinuxContainerResources) *cri.ContainerConfig {
	return &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: name},
		Image:    &cri.ImageSpec{Image: testimage.BusyboxName},
		Command:  []string{"/bin/sh", "-c", script},
		LogPath:  name + ".log",
		Linux: &cri.LinuxContainerConfig{
			Resources: limits,
			SecurityContext: &cri.LinuxContainerSecurityContext{
				NamespaceOptions: &cri.NamespaceOption{Pid: cri.NamespaceMode_CONTAINER},
			},
		},
	}
}

func runPod(ctx context.Context, p *page, n *node.Node) (*pair, error) {
	p.title("A pod of two containers comes up")
	config := podConfig(n)
	began := time.Now()
	sandbox, err := n.Runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return nil, fmt.Errorf("RunPodSandbox: %w", err)
	}
	pod := &pair{node: n, id: sandbox.PodSandboxId}
	pod.web, err = pod.launch(ctx, config, containerConfig("web",
		"mkdir /www && echo "+greeting+" > /www/index.html && echo serving on port 8080 && exec httpd -f -p 8080 -h /www",
		&cri.LinuxContainerResources{MemoryLimitInBytes: memoryLimit, CpuQuota: cpuQuota, CpuPeriod: cpuPeriod}))
	if err != nil {
		return nil, err
	}
	pod.client, err = pod.launch(ctx, config, containerConfig("client",
		"while :; do wget -q -O - http://localhost:8080/ 2>&1; sleep 0.1; done", nil))
	if err != nil {
		return nil, err
	}
	up := took(began)
	if err := pod.findPIDs(ctx); err != nil {
		return nil, err
	}
	p.line("pod demo, id %.12s, with the containers web and client: RunPodSandbox, 2 CreateContainer, 2 StartContainer: %s", pod.id, up)
	states, err := pod.states(ctx)
	if err != nil {
		return nil, err
	}
	p.check(states == "READY RUNNING RUNNING", "the CRI says: sandbox, web, client are %s", states)
	p.line("its addresses: %s", strings.Join(pod.ips, ", "))
	for _, log := range []string{"web.log", "client.log"} {
		_, err := os.Stat(filepath.Join(n.LogDir(), log))
		p.check(err == nil, "%s was there when StartContainer returned", log)
	}
	return pod, nil
}

func (pod *pair) launch(ctx context.Context, sandbox *cri.PodSandboxConfig, config *cri.ContainerConfig) (string, error) {
	created, err := pod.node.Runtime.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: pod.id, Config: config, SandboxConfig: sandbox})
	if err != nil {
		return "", fmt.Errorf("CreateContainer of %s: %w", config.Metadata.Name, err)
	}
	if _, err := pod.node.Runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		return "", fmt.Errorf("StartContainer of %s: %w", config.Metadata.Name, err)
	}
	return created.ContainerId, nil
}

// states are the sandbox's, web's and client's as the CRI has them.
func (pod *pair) states(ctx context.Context) (string, error) {
	status, err := pod.node.Runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: pod.id})
	if err != nil {
		return "", fmt.Errorf("PodSandboxStatus: %w", err)
	}
	text := status.Status.State.String()[len("SANDBOX_"):]
	for _, id := range []string{pod.web, pod.client} {
		c, err := pod.node.Runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
		if err != nil {
			return "", fmt.Errorf("ContainerStatus: %w", err)
		}
		text += " " + c.Status.State.String()[len("CONTAINER_"):]
	}
	return text, nil
}

// findPIDs reads the pids, and the network, from the verbose statuses.
func (pod *pair) findPIDs(ctx context.Context) error {
	status, err := pod.node.Runtime.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: pod.id, Verbose: true})
	if err != nil {
		return fmt.Errorf("PodSandboxStatus: %w", err)
	}
	if pod.pausePID, err = pidOf(status.Info); err != nil {
		return err
	}
	if pod.ips, pod.gateways, err = networkOf(status.Info); err != nil {
		return err
	}
	for id, pid := range map[string]*int{pod.web: &pod.webPID, pod.client: &pod.clientPID} {
		c, err := pod.node.Runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
		if err != nil {
			return fmt.Errorf("ContainerStatus: %w", err)
		}
		if *pid, err = pidOf(c.Info); err != nil {
			return err
		}
	}
	return nil
}

func networkOf(info map[string]string) (ips, gateways []string, err error) {
	var seen struct {
		Network struct{ IPs, Gateways []string } `json:"network"`
	}
	if err := json.Unmarshal([]byte(info["info"]), &seen); err != nil {
		return nil, nil, fmt.Errorf("verbose status %q: %w", info["info"], err)
	}
	return seen.Network.IPs, seen.Network.Gateways, nil
}

func pidOf(info map[string]string) (int, error) {
	var seen struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(info["info"]), &seen); err != nil {
		return 0, fmt.Errorf("verbose status %q: %w", info["info"], err)
	}
	if seen.PID == 0 {
		return 0, fmt.Errorf("verbose status %q: no pid", info["info"])
	}
	return seen.PID, nil
}

// run is ExecSync of a shell command.
func (pod *pair) run(ctx context.Context, container, script string) (*cri.ExecSyncResponse, error) {
	answer, err := pod.node.Runtime.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: container, Cmd: []string{"/bin/sh", "-c", script}, Timeout: 10})
	if err != nil {
		return nil, fmt.Errorf("ExecSync of %q: %w", script, err)
	}
	return answer, nil
}

func took(began time.Time) string { return fmt.Sprintf("%.1f ms", float64(time.Since(began))/1e6) }
