package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// With this in its environment the test binary is podlet.
const asPodlet = "PODLET_TEST_IS_PODLET"

func TestMain(m *testing.M) {
	if os.Getenv(asPodlet) != "" {
		main()
		os.Exit(0)
	}
	if os.Geteuid() != 0 {
		fmt.Println("cmd/podlet: skipped: pods need root")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// node is one podlet on directories of its own.
type node struct {
	t   *testing.T
	dir string
	// cgroup is the name of the cgroup parent of its pods.
	cgroup string
	cmd    *exec.Cmd
	conn   *grpc.ClientConn
	cri.RuntimeServiceClient
	images cri.ImageServiceClient
}

// newNode imports the test images and starts a podlet; the test's end stops it.
func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir()}
	n.cgroup = fmt.Sprintf("podlet-test-%d-%s", os.Getpid(), filepath.Base(filepath.Dir(n.dir)))
	for _, tar := range []string{testimage.Busybox(t), testimage.Tools(t)} {
		n.podlet("image", "import", "--root", n.dir+"/root", tar)
	}
	n.start()
	t.Cleanup(n.end)
	return n
}

// podlet runs one of podlet's commands.
func (n *node) podlet(args ...string) {
	n.t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asPodlet+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("podlet %v: %v\n%s", args, err, out)
	}
}

func (n *node) socket() string { return filepath.Join(n.dir, "podlet.sock") }

// start starts podlet and waits until it answers.
func (n *node) start() {
	n.t.Helper()
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	n.cmd = exec.Command("/proc/self/exe", "serve", "--listen", "unix://"+n.socket(), "--root", n.dir+"/root", "--state", n.dir+"/state", "--log-level", "debug")
	n.cmd.Env = append(os.Environ(), asPodlet+"=1")
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.conn, err = grpc.NewClient("unix://"+n.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		n.t.Fatal(err)
	}
	n.RuntimeServiceClient, n.images = cri.NewRuntimeServiceClient(n.conn), cri.NewImageServiceClient(n.conn)
	if _, err := n.Version(n.ctx(), &cri.VersionRequest{}, grpc.WaitForReady(true)); err != nil {
		n.t.Fatalf("podlet does not answer: %v\n%s", err, n.log())
	}
}

func (n *node) ctx() context.Context {
	ctx, cancel := context.WithTimeout(n.t.Context(), 30*time.Second)
	n.t.Cleanup(cancel)
	return ctx
}

func (n *node) log() string {
	text, _ := os.ReadFile(filepath.Join(n.dir, "log"))
	return string(text)
}

// kill is kill -9.
func (n *node) kill() {
	n.conn.Close()
	n.cmd.Process.Kill()
	n.cmd.Wait()
}

// end removes every pod and stops podlet.
func (n *node) end() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	pods, err := n.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		n.t.Errorf("list pods at the end: %v", err)
	}
	for _, p := range pods.GetItems() {
		if _, err := n.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.Id}); err != nil {
			n.t.Errorf("remove pod %s at the end: %v", p.Metadata.Name, err)
		}
	}
	n.conn.Close()
	n.cmd.Process.Signal(unix.SIGTERM)
	if err := n.cmd.Wait(); err != nil {
		n.t.Errorf("podlet's end: %v", err)
	}
	if n.t.Failed() {
		n.t.Logf("podlet's log:\n%s", n.log())
	}
}
