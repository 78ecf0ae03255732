package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Times that only a broken kubelet takes.
const (
	kubeletStartTime = 60 * time.Second
	kubeletStopTime  = 20 * time.Second
)

// kubelet is the process and its HTTP API. It is not safe for concurrent use.
type kubelet struct {
	argv    []string
	logFile string
	api     string // https://127.0.0.1:PORT
	health  string // http://127.0.0.1:PORT
	client  *http.Client

	cmd *exec.Cmd // nil: it doesn't run
	// ended is closed when the kubelet has ended, end then says how. One goroutine waits, from start to the end.
	ended chan struct{}
	end   error
}

func newKubelet(binary, config, root, logFile string, port, healthPort int) *kubelet {
	return &kubelet{
		argv: []string{
			binary, "--config", config, "--root-dir", root, "--cert-dir", root + "/pki", "--hostname-override", nodeName, "-v", "2",
		},
		logFile: logFile,
		api:     fmt.Sprintf("https://127.0.0.1:%d", port),
		health:  fmt.Sprintf("http://127.0.0.1:%d", healthPort),
		// The kubelet signs its own certificate. Nobody else is on the loopback device.
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 20 * time.Second},
	}
}

// start returns when the kubelet's API answers; it may still be busy with its first look at the runtime.
func (k *kubelet) start(ctx context.Context) error {
	log, err := os.OpenFile(k.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	k.cmd = exec.Command(k.argv[0], k.argv[1:]...)
	k.cmd.Stdout, k.cmd.Stderr = log, log
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := k.cmd.Start(); err != nil {
		k.cmd = nil
		return fmt.Errorf("start %s: %w", k.argv[0], err)
	}
	cmd, ended := k.cmd, make(chan struct{})
	k.ended = ended
	go func() {
		k.end = cmd.Wait()
		close(ended)
	}()
	return await(ctx, kubeletStartTime, "the kubelet to be healthy", func() error {
		select {
		case <-ended:
			return fatal{fmt.Errorf("the kubelet has ended: %w\n%s", k.end, k.errors(10))}
		default:
			_, err := k.get(ctx, k.health+"/healthz")
			return err
		}
	})
}

// stop ends the kubelet with SIGTERM. Its pods live on.
func (k *kubelet) stop() error {
	if k.cmd == nil {
		return nil
	}
	defer func() { k.cmd = nil }()
	select {
	case <-k.ended:
		return fmt.Errorf("the kubelet has ended by itself: %w", k.end)
	default:
	}
	k.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(kubeletStopTime, func() { k.cmd.Process.Kill() })
	defer kill.Stop()
	<-k.ended
	var status *exec.ExitError
	if k.end != nil && !(errors.As(k.end, &status) && status.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM) {
		return fmt.Errorf("the kubelet after SIGTERM: %w", k.end)
	}
	return nil
}

// errors are the last lines of the kubelet's log that say error or fatal.
func (k *kubelet) errors(n int) string {
	text, err := os.ReadFile(k.logFile)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		// klog's lines begin with the severity: I, W, E, F.
		if strings.HasPrefix(line, "E") || strings.HasPrefix(line, "F") || strings.HasPrefix(line, "Error") {
			lines = append(lines, fmt.Sprintf("%.600s", strings.TrimSpace(line)))
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (k *kubelet) get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := k.client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", fmt.Errorf("GET %s: %w", url, err)
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s: %.300s", url, answer.Status, body)
	}
	return string(body), nil
}

// Pod is what we read of the kubelet's: names as in Kubernetes' API.
type Pod struct {
	Metadata struct{ Name, UID string }
	Status   struct {
		Phase, PodIP                             string
		PodIPs                                   []struct{ IP string }
		Conditions                               []struct{ Type, Status string }
		InitContainerStatuses, ContainerStatuses []ContainerStatus
	}
}

// ContainerStatus is a container's.
type ContainerStatus struct {
	Name, ContainerID string
	Ready             bool
	Started           *bool
	RestartCount      int
	State, LastState  struct {
		Waiting    *struct{ Reason, Message string }
		Running    *struct{ StartedAt time.Time }
		Terminated *struct {
			ExitCode              int
			Reason, Message       string
			StartedAt, FinishedAt time.Time
		}
	}
}

// pods are those that the kubelet knows, by the names in their manifests.
func (k *kubelet) pods(ctx context.Context) (map[string]*Pod, error) {
	text, err := k.get(ctx, k.api+"/pods")
	if err != nil {
		return nil, err
	}
	var list struct{ Items []*Pod }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("the kubelet's /pods: %w", err)
	}
	byName := map[string]*Pod{}
	for _, pod := range list.Items {
		byName[strings.TrimSuffix(pod.Metadata.Name, "-"+nodeName)] = pod
	}
	return byName, nil
}

// pod fails if the kubelet doesn't know it.
func (k *kubelet) pod(ctx context.Context, name string) (*Pod, error) {
	pods, err := k.pods(ctx)
	if err != nil {
		return nil, err
	}
	if pods[name] == nil {
		return nil, fmt.Errorf("the kubelet knows no pod %s", name)
	}
	return pods[name], nil
}

func (pod *Pod) ready() bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// ips are the pod's addresses.
func (pod *Pod) ips() []string {
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	return ips
}

// container finds a status, init containers' too; never nil.
func (pod *Pod) container(name string) *ContainerStatus {
	for _, list := range [][]ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return &ContainerStatus{}
}

// ids are all containers with their restarts: equal before and after means that nothing was started anew.
func (pod *Pod) ids() string {
	var ids []string
	for _, list := range [][]ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, c := range list {
			ids = append(ids, fmt.Sprintf("%s %s %d", c.Name, c.ContainerID, c.RestartCount))
		}
	}
	return strings.Join(ids, ", ")
}

// logs of a container through the kubelet.
func (k *kubelet) logs(ctx context.Context, pod, container, query string) (string, error) {
	return k.get(ctx, fmt.Sprintf("%s/containerLogs/default/%s-%s/%s%s", k.api, pod, nodeName, container, query))
}
