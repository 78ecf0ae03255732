package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// With this in its environment the test binary is podlet.
const asPodlet = "PODLET_TEST_IS_PODLET"

// hangTime is how long a test waits until it takes what it waits for for hanging, however busy the machine and its disk are. (A disk that a test freezes stays frozen for longer.)
const hangTime = 60 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asPodlet) != "" {
		main()
		os.Exit(0)
	}
	if os.Geteuid() != 0 {
		fmt.Println("cmd/podlet: skipped: pods need root")
		os.Exit(0)
	}
	if err := ownNode(); err != nil {
		fmt.Println("cmd/podlet: a network namespace for the tests:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := endCommon(); err != nil {
		fmt.Println("the common podlet's end:", err)
		code = 1
	}
	os.Exit(code)
}

// node is one podlet on directories of its own, as one test sees it.
type node struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	conn *grpc.ClientConn
	cri.RuntimeServiceClient
	images cri.ImageServiceClient
	// cgroup is the name of the cgroup that is the parent of all pods.
	cgroup string
	// number tells the node from all others: its bridge and subnets are its own.
	number int64
	// flags are more of podlet's, for this node alone.
	flags []string
	// pods are the ids of all pods that were ever run here.
	pods *podList
}

// nodes counts them, so that no two have a cgroup in common.
var nodes atomic.Int64

// podList may grow in several goroutines.
type podList struct {
	sync.Mutex
	ids []string
}

// newNode imports the test images and starts a podlet; the test's end stops it.
func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir()}
	n.importImages()
	n.start()
	t.Cleanup(n.end)
	return n
}

// common is the podlet of all tests that don't restart theirs.
var common struct {
	once sync.Once
	node *node
}

// commonNode gives the test a podlet that it shares with those before and after it. At its end nothing that it ran may be left.
func commonNode(t *testing.T) *node {
	t.Helper()
	common.once.Do(func() {
		dir, err := os.MkdirTemp("", "podlet-common-")
		if err != nil {
			t.Fatal(err)
		}
		common.node = &node{t: t, dir: dir}
		common.node.importImages()
		common.node.start()
		common.node.warmUp()
	})
	if common.node == nil || common.node.conn == nil {
		t.Fatal("the common podlet did not start")
	}
	n := *common.node
	n.t = t
	before := n.openFiles()
	t.Cleanup(func() {
		n.removePods()
		n.nothingLeft(before)
		if t.Failed() {
			t.Logf("podlet's log ends:\n%s", tail(n.log(), 100))
		}
	})
	return &n
}

// warmUp runs the first pod and container, which bring the nursery up and find out what the kernel can do: some files stay open for good.
func (n *node) warmUp() {
	n.t.Helper()
	p := n.newPod()
	n.exited(p.start(container("first", "true")))
	n.exec(p.start(container("second", "sleep", "1000")), "true")
	n.removePods()
}

// endCommon stops the common podlet, if a test started it.
func endCommon() error {
	n := common.node
	if n == nil {
		return nil
	}
	defer os.RemoveAll(n.dir)
	if n.conn == nil {
		return nil
	}
	n.conn.Close()
	n.cmd.Process.Signal(unix.SIGTERM)
	return n.cmd.Wait()
}

func (n *node) importImages() {
	n.t.Helper()
	for _, layout := range []string{testimage.Busybox(n.t), testimage.Tools(n.t), testimage.Scratch(n.t)} {
		n.podlet("image", "import", "--root", n.dir+"/root", layout)
	}
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
	if n.pods == nil {
		n.pods = &podList{}
	}
	if n.cgroup == "" {
		n.number = nodes.Add(1)
		n.cgroup = fmt.Sprintf("podlet-test-%d-%d", os.Getpid(), n.number)
	}
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	args := []string{"serve", "--listen", "unix://" + n.socket(), "--root", n.dir + "/root", "--state", n.dir + "/state", "--log-level", "debug"}
	n.cmd = exec.Command("/proc/self/exe", slices.Concat(args, n.network(), n.flags)...)
	n.cmd.Env = append(os.Environ(), asPodlet+"=1")
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix://"+n.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)), // as a kubelet's
		// The socket may be that of a podlet that was killed until the new one is ready.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 2 * time.Millisecond, Multiplier: 1.2, MaxDelay: 20 * time.Millisecond}, MinConnectTimeout: 10 * time.Second}))
	if err != nil {
		n.t.Fatal(err)
	}
	n.RuntimeServiceClient, n.images = cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)
	if _, err := n.Version(n.ctx(), &cri.VersionRequest{}, grpc.WaitForReady(true)); err != nil {
		n.cmd.Process.Kill()
		n.cmd.Wait()
		n.t.Fatalf("podlet does not answer: %v\n%s", err, n.log())
	}
	n.conn = conn
}

func (n *node) ctx() context.Context {
	ctx, cancel := context.WithTimeout(n.t.Context(), hangTime)
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

// terminate is SIGTERM, and waits for podlet's end.
func (n *node) terminate() {
	n.t.Helper()
	n.conn.Close()
	n.cmd.Process.Signal(unix.SIGTERM)
	if err := n.cmd.Wait(); err != nil {
		n.t.Errorf("podlet's end: %v", err)
	}
}

// removePods removes every pod.
func (n *node) removePods() {
	n.t.Helper()
	// The test's own context ends before what it cleans up.
	ctx, cancel := context.WithTimeout(context.Background(), hangTime)
	defer cancel()
	pods, err := n.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		n.t.Errorf("list pods at the end: %v", err)
	}
	for _, p := range pods.GetItems() {
		ctx, cancel := context.WithTimeout(context.Background(), hangTime)
		if _, err := n.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: p.Id}); err != nil {
			n.t.Errorf("remove pod %s at the end: %v", p.Metadata.Name, err)
		}
		cancel()
	}
}

// end removes every pod and stops podlet.
func (n *node) end() {
	n.removePods()
	n.nothingLeft(0)
	n.terminate()
	if n.t.Failed() {
		n.t.Logf("podlet's log:\n%s", tail(n.log(), 300))
	}
}
