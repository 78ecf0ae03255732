package main

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// With this in its environment the test binary is an attacker inside a container: its value names what it does. The binary is a volume of such a
// container, so that no image has to be built for it.
const asAttacker = "PODLET_TEST_ATTACK"

// attacks are what the test binary can do as an attacker. Each gives what becomes the report.
var attacks = map[string]func() any{
	"look": attackLook, "swap": attackSwap, "null": attackNull, "paths": attackPaths, "cgroups": attackCgroups, "unix": attackUnix,
}

func init() {
	what := os.Getenv(asAttacker)
	if what == "" {
		return
	}
	report, err := json.Marshal(attacks[what]())
	if err == nil {
		// Renamed, so that who sees it sees all of it.
		err = os.WriteFile(attackerDir+"/new", report, 0o600)
	}
	if err == nil {
		err = os.Rename(attackerDir+"/new", attackerDir+"/report")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// attackerDir is where an attacker finds its binary and leaves its report.
const attackerDir = "/attacker"

// attacker is a container that attacks.
type attacker struct {
	id  string
	dir string // attackerDir on the host
}

// attackers gives the config of a container that does what, with the arguments in its environment.
func (n *node) attackers(name, what string, env map[string]string, change ...func(*cri.ContainerConfig)) (*cri.ContainerConfig, string) {
	n.t.Helper()
	dir := n.t.TempDir()
	// An attacker of a pod with a user namespace is nobody on the host.
	if err := os.Chmod(dir, 0o777); err != nil {
		n.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	c := container(name, "/binary")
	c.Envs = []*cri.KeyValue{{Key: asAttacker, Value: []byte(what)}}
	for k, v := range env {
		c.Envs = append(c.Envs, &cri.KeyValue{Key: k, Value: []byte(v)})
	}
	c.Mounts = []*cri.Mount{{HostPath: self, ContainerPath: "/binary", Readonly: true}, {HostPath: dir, ContainerPath: attackerDir}}
	for _, lib := range libraries(n.t, self) {
		c.Mounts = append(c.Mounts, &cri.Mount{HostPath: lib, ContainerPath: lib, Readonly: true})
	}
	for _, f := range change {
		f(c)
	}
	return c, dir
}

// libraries are the directories that the test binary needs where it was linked with the C library (as by -race).
func libraries(t *testing.T, binary string) []string {
	t.Helper()
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return nil
	}
	return []string{"/lib64", "/lib/x86_64-linux-gnu"}
}

// attack starts an attacker.
func (n *node) attack(pod string, sandbox *cri.PodSandboxConfig, name, what string, env map[string]string, change ...func(*cri.ContainerConfig)) *attacker {
	n.t.Helper()
	c, dir := n.attackers(name, what, env, change...)
	return &attacker{id: n.startIn(pod, sandbox, n.like(sandbox, c)), dir: dir}
}

// report waits for the attacker's end and reads what it found.
func (n *node) report(a *attacker, into any) {
	n.t.Helper()
	if s := n.exited(a.id); s.ExitCode != 0 {
		log, _ := os.ReadFile(s.LogPath)
		n.t.Fatalf("the attacker ended with %d %s: %s", s.ExitCode, s.Message, log)
	}
	readReport(n.t, a.dir, into)
}

func readReport(t *testing.T, dir string, into any) {
	t.Helper()
	text, err := os.ReadFile(dir + "/report")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("report %q: %v", text, err)
	}
}

// attackOnce runs an attacker to its end.
func (n *node) attackOnce(pod string, sandbox *cri.PodSandboxConfig, name, what string, into any, change ...func(*cri.ContainerConfig)) {
	n.t.Helper()
	n.report(n.attack(pod, sandbox, name, what, nil, change...), into)
}

// stop tells a running attacker to end, by a file; a signal would need a handler that is in its way.
func (a *attacker) stop() error { return os.WriteFile(a.dir+"/stop", nil, 0o644) }

// stopped is the attacker's look for it.
func stopped() bool { return unix.Access(attackerDir+"/stop", unix.F_OK) == nil }

// busyboxImage is the image that hostile ones are built on.
var busyboxImage = sync.OnceValues(func() (testimage.Image, error) {
	i, err := testimage.Make("busybox")
	for k := range i.Layers {
		i.Layers[k].Compression = testimage.None
	}
	return i, err
})

// hostile gives busybox with one more layer, and a config that change made.
func hostile(t *testing.T, name string, tree *testimage.Tree, change ...func(*testimage.Config)) testimage.Image {
	t.Helper()
	i, err := busyboxImage()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := tree.Layer(testimage.None)
	if err != nil {
		t.Fatal(err)
	}
	i.Names = []string{"hostile.test/" + name + ":latest"}
	i.Layers = append(slices.Clone(i.Layers), layer)
	for _, f := range change {
		f(&i.Config)
	}
	return i
}

// hostileNode gives a podlet that has the images given: the common one where there are none, and no defence is to be left out.
func hostileNode(t *testing.T, images ...testimage.Image) *node {
	t.Helper()
	if len(images) == 0 && os.Getenv(withoutDefence) == "" && os.Getenv(keepTapes) == "" {
		return commonNode(t)
	}
	n := &node{t: t, dir: t.TempDir()}
	layouts := []string{testimage.Busybox(t)}
	if len(images) > 0 {
		layouts = append(layouts, filepath.Join(n.dir, "layout"))
		if err := testimage.WriteLayout(layouts[1], images...); err != nil {
			t.Fatal(err)
		}
	}
	n.podlet(append([]string{"image", "import", "--root", n.dir + "/root"}, layouts...)...)
	n.start()
	t.Cleanup(n.end)
	return n
}

func of(c *cri.ContainerConfig, image string) *cri.ContainerConfig {
	c.Image.Image = "hostile.test/" + image + ":latest"
	return c
}

// create makes a container; the error is the test's to judge.
func (n *node) create(pod string, sandbox *cri.PodSandboxConfig, c *cri.ContainerConfig) (string, error) {
	r, err := n.CreateContainer(n.ctx(), &cri.CreateContainerRequest{PodSandboxId: pod, Config: n.like(sandbox, c), SandboxConfig: sandbox})
	return r.GetContainerId(), err
}

// createAndStart gives the error of whichever failed.
func (n *node) createAndStart(pod string, sandbox *cri.PodSandboxConfig, c *cri.ContainerConfig) (string, error) {
	id, err := n.create(pod, sandbox, c)
	if err != nil {
		return "", err
	}
	_, err = n.StartContainer(n.ctx(), &cri.StartContainerRequest{ContainerId: id})
	return id, err
}

// output runs a container to its end and gives what it wrote.
func (n *node) output(pod string, sandbox *cri.PodSandboxConfig, c *cri.ContainerConfig) (string, int32) {
	n.t.Helper()
	s := n.exited(n.startIn(pod, sandbox, n.like(sandbox, c)))
	return n.written(s), s.ExitCode
}

// written is what a container wrote that has ended, without what the log's format adds.
func (n *node) written(s *cri.ContainerStatus) string {
	n.t.Helper()
	n.wholeLog(s.Id)
	text, err := os.ReadFile(s.LogPath)
	if err != nil {
		n.t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if f := strings.SplitN(line, " ", 4); len(f) == 4 {
			b.WriteString(f[3])
		}
	}
	return b.String()
}

func (n *node) remove(container string) {
	n.t.Helper()
	if _, err := n.RemoveContainer(n.ctx(), &cri.RemoveContainerRequest{ContainerId: container}); err != nil {
		n.t.Error(err)
	}
}

func (n *node) removePod(pod string) {
	n.t.Helper()
	if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		n.t.Error(err)
	}
}

// code is the name of an error's gRPC code.
func code(err error) string { return status.Code(err).String() }
