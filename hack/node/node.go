// Package node starts a podlet with a root, a state directory and a socket of
// its own, for the tools that need one and must leave nothing behind: the
// demo, the benchmarks and whole-system tests.
//
// Its pods have lo only unless Options name a bridge, which is then made on the
// machine itself, with rules, addresses and forwarding as on any node:
//
//	n, err := node.Start(ctx, node.Options{Bridge: "podlet_bench"})
//
// Close takes all of it back.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Times that only a broken podlet takes.
const (
	startTime = 20 * time.Second
	stopTime  = 20 * time.Second
)

// Options are what a Node is made from.
type Options struct {
	// Podlet is the binary, "" for bin/podlet.
	Podlet string
	// Wrap is a command, with its arguments, that is given podlet's command line and must end in executing it; nil for none.
	Wrap []string
	// Bridge is the name of the pods' bridge, which Close removes; "" for pods with lo only. Two nodes at once need two names, and Subnets that differ.
	Bridge string
	// Subnets are those of the bridge, as in --pod-subnets; nil for DefaultSubnets.
	Subnets []string
	// Images are OCI layouts or docker-archives to import before podlet serves.
	Images []string
	// Root is podlet's directory for what outlives a reboot, which then stays; "" for one that Close removes.
	Root string
	// Flags are more of podlet's; what they say wins over what Options say.
	Flags []string
	// StartTime is how long podlet may take to serve, 0 for what suits a machine that isn't emulated.
	StartTime time.Duration
}

// Node is one podlet with all it has. It is not safe for concurrent use, but
// for the two clients.
type Node struct {
	// Dir holds everything: root/, state/, logs/ for containers, podlet.sock, podlet.log. Close removes it.
	Dir     string
	Runtime cri.RuntimeServiceClient
	Images  cri.ImageServiceClient

	o    Options
	conn *grpc.ClientConn
	log  *os.File
	cmd  *exec.Cmd // nil: podlet doesn't run
	// ended is closed when podlet has ended, end then says how. One goroutine waits, from Serve to the end.
	ended chan struct{}
	end   error
}

// Start makes a node and returns when podlet answers. The caller closes the node.
func Start(ctx context.Context, o Options) (_ *Node, err error) {
	if o.Podlet == "" {
		o.Podlet = "bin/podlet"
	}
	if o.Podlet, err = filepath.Abs(o.Podlet); err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.Podlet); err != nil {
		return nil, fmt.Errorf("%w: run make build first", err)
	}
	dir, err := os.MkdirTemp("", "podlet-node-")
	if err != nil {
		return nil, err
	}
	n := &Node{Dir: dir, o: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if err := os.Mkdir(n.LogDir(), 0o755); err != nil {
		return nil, err
	}
	if n.log, err = os.OpenFile(n.LogFile(), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	for _, image := range o.Images {
		out, err := exec.CommandContext(ctx, o.Podlet, "image", "import", "--root", n.root(), image).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("podlet image import %s: %w\n%s", image, err, out)
		}
	}
	n.conn, err = grpc.NewClient("unix://"+n.path("podlet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, err
	}
	n.Runtime, n.Images = cri.NewRuntimeServiceClient(n.conn), cri.NewImageServiceClient(n.conn)
	return n, n.Serve(ctx)
}

func (n *Node) path(name string) string { return filepath.Join(n.Dir, name) }

func (n *Node) root() string {
	if n.o.Root != "" {
		return n.o.Root
	}
	return n.path("root")
}

// StateDir is podlet's directory for what dies with the boot, by which its commands reach it.
func (n *Node) StateDir() string { return n.path("state") }

// LogDir is a directory for containers' logs.
func (n *Node) LogDir() string { return n.path("logs") }

// LogFile is what podlet itself says.
func (n *Node) LogFile() string { return n.path("podlet.log") }

// PID is podlet's.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Serve starts podlet, which doesn't run, and returns when it answers.
func (n *Node) Serve(ctx context.Context) error {
	argv := append(append([]string{}, n.o.Wrap...), n.o.Podlet, "serve",
		"--listen", "unix://"+n.path("podlet.sock"), "--root", n.root(), "--state", n.StateDir())
	argv = append(append(argv, n.networkFlags()...), n.o.Flags...)
	n.cmd = exec.Command(argv[0], argv[1:]...)
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	// ^C is for the tool, which still needs podlet to clean up.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.cmd.Start(); err != nil {
		n.cmd = nil
		return err
	}
	cmd, ended := n.cmd, make(chan struct{})
	n.ended = ended
	go func() {
		n.end = cmd.Wait()
		close(ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(n.o.StartTime, startTime))
	defer cancel()
	if err := n.awaitSocket(ctx); err != nil {
		return fmt.Errorf("podlet does not serve: %w\n%s", err, n.LogTail())
	}
	// A connection that failed waits longer and longer before it tries again; this one is there now.
	n.conn.ResetConnectBackoff()
	// It listens before it can answer; if it ends in between, there is nothing to wait for.
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := n.Runtime.Version(ctx, &cri.VersionRequest{}); err != nil {
		return fmt.Errorf("podlet does not answer: %w\n%s", err, n.LogTail())
	}
	return nil
}

// awaitSocket returns when somebody listens on the socket. There is no event for that, so it tries every few milliseconds.
func (n *Node) awaitSocket(ctx context.Context) error {
	for {
		conn, err := net.Dial("unix", n.path("podlet.sock"))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-n.ended:
			return fmt.Errorf("it has ended: %w", n.end)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Kill ends podlet with SIGKILL and waits for its end. Its pods live on.
func (n *Node) Kill() error {
	err := n.cmd.Process.Kill()
	<-n.ended
	n.cmd = nil
	return err
}

// LogTail is the end of what podlet said, or, if it panicked, what it said from there on.
func (n *Node) LogTail() string {
	text, err := os.ReadFile(n.LogFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	from := max(0, len(lines)-20)
	panicked := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "panic: ") })
	if panicked >= 0 {
		from = min(from, panicked)
	}
	return strings.Join(lines[from:min(from+40, len(lines))], "\n")
}

// RemovePods stops and removes all pods.
func (n *Node) RemovePods(ctx context.Context) error {
	list, err := n.Runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	var failed []error
	for _, pod := range list.Items {
		if _, err := n.Runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod.Id}); err != nil {
			failed = append(failed, fmt.Errorf("stop pod %s: %w", pod.Metadata.Name, err))
		}
		if _, err := n.Runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod.Id}); err != nil {
			failed = append(failed, fmt.Errorf("remove pod %s: %w", pod.Metadata.Name, err))
		}
	}
	return errors.Join(failed...)
}

// Stop removes all pods and ends podlet with SIGTERM.
func (n *Node) Stop() error {
	if n.cmd == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	select {
	case <-n.ended:
		n.cmd = nil
		return fmt.Errorf("podlet has ended by itself, its pods may be left: %w\n%s", n.end, n.LogTail())
	default:
	}
	err := n.RemovePods(ctx)
	n.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopTime, func() { n.cmd.Process.Kill() })
	<-n.ended
	kill.Stop()
	n.cmd = nil
	if n.end != nil {
		err = errors.Join(err, fmt.Errorf("podlet after SIGTERM: %w\n%s", n.end, n.LogTail()))
	}
	return err
}

// Close is Stop, and removes the node's directory. It has a deadline of its
// own, so that a cancelled tool cleans up too.
func (n *Node) Close() error {
	failed := []error{n.Stop()}
	if n.conn != nil {
		failed = append(failed, n.conn.Close())
	}
	if n.log != nil {
		failed = append(failed, n.log.Close())
	}
	failed = append(failed, n.removeNetwork())
	return errors.Join(append(failed, os.RemoveAll(n.Dir))...)
}
