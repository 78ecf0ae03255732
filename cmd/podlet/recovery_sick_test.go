package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// patient is a pod with a container, and its pause.
type patient struct {
	pod, container string
	pause          int
}

// sicknesses are what can be wrong with a pod when a new podlet comes.
var sicknesses = []struct {
	name   string
	infect func(t *testing.T, n *node, p patient)
	// ill: podlet can't keep the pod. Else it is to be what it was.
	ill bool
	// silent: podlet waits for an answer of the pod's, in vain.
	silent bool
}{
	{"pause stopped", func(t *testing.T, _ *node, p patient) {
		t.Helper()
		if err := unix.Kill(p.pause, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}, true, true},
	{"record truncated", func(t *testing.T, n *node, p patient) {
		t.Helper()
		if err := os.Truncate(n.record(p.pod, "pod"), 0); err != nil {
			t.Fatal(err)
		}
	}, false, false}, // the version before it is there
	{"record lost", func(t *testing.T, n *node, p patient) {
		t.Helper()
		n.truncateAll(t, n.record(p.pod, "*pod*"))
	}, true, false},
	{"container's record lost", func(t *testing.T, n *node, p patient) {
		t.Helper()
		n.truncateAll(t, n.record(p.pod, "*container-"+p.container+"*"))
	}, true, false},
	{"socket a directory", func(t *testing.T, n *node, p patient) {
		t.Helper()
		socket := filepath.Join(n.dir, "state/pods", p.pod)
		if err := os.Remove(socket); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(socket+"/in/the/way", 0o700); err != nil {
			t.Fatal(err)
		}
	}, true, false},
	{"socket that never answers", func(t *testing.T, n *node, p patient) {
		t.Helper()
		socket := filepath.Join(n.dir, "state/pods", p.pod)
		if err := os.Remove(socket); err != nil {
			t.Fatal(err)
		}
		l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { conn.Close() })
			}
		}()
	}, true, true},
	{"socket gone", func(t *testing.T, n *node, p patient) {
		t.Helper()
		if err := os.Remove(filepath.Join(n.dir, "state/pods", p.pod)); err != nil {
			t.Fatal(err)
		}
	}, true, false},
}

func (n *node) record(pod, name string) string {
	return filepath.Join(n.dir, "root/state/pods", pod, name)
}

// truncateAll empties a record and the version before it.
func (n *node) truncateAll(t *testing.T, pattern string) {
	t.Helper()
	files := append(glob(pattern), glob(filepath.Join(filepath.Dir(pattern), "."+filepath.Base(pattern)))...)
	if len(files) == 0 {
		t.Fatalf("no file %s", pattern)
	}
	for _, file := range files {
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// well says whether the pods are as they were.
func (l lists) well(all []patient) bool {
	return !slices.ContainsFunc(all, func(p patient) bool {
		return l.pods[p.pod] == nil || l.pods[p.pod].State != cri.PodSandboxState_SANDBOX_READY ||
			l.containers[p.container].GetState() != cri.ContainerState_CONTAINER_RUNNING
	})
}

// TestSickPods restarts podlet among pods of which some can't be spoken to or aren't known any more. The others don't notice, and all can be removed.
func TestSickPods(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	var healthy, sick, well []patient
	admit := func(name string) patient {
		sandbox := n.sandbox(name, observed(true))
		pod := n.run(sandbox)
		return patient{pod, n.startIn(pod, sandbox, container(name, family...)), n.seenPod(pod).PID}
	}
	for i := range 12 {
		healthy = append(healthy, admit(fmt.Sprintf("healthy-%d", i)))
	}
	for i := range sicknesses {
		sick = append(sick, admit(fmt.Sprintf("sick-%d", i)))
	}
	n.kill()
	well = slices.Clone(healthy)
	for i, s := range sicknesses {
		s.infect(t, n, sick[i])
		if !s.ill {
			well = append(well, sick[i])
		}
	}
	works := func() {
		t.Helper()
		n.soon("the others are well", func() bool { return n.lists().well(well) })
		for i, p := range well {
			if out, code := n.exec(p.container, "echo", "well"); out != "well\n" || code != 0 {
				t.Errorf("pod %d: exec %q, %d", i, out, code)
			}
		}
	}
	// However long it has to wait for the silent ones, podlet answers and the others can be worked with.
	n.startPatient()
	works()
	l := n.lists()
	for i, s := range sicknesses {
		if state := l.containers[sick[i].container].GetState(); s.silent && state != cri.ContainerState_CONTAINER_UNKNOWN {
			t.Errorf("%s: podlet doesn't wait for it, and says %v: nothing is tested", s.name, state)
		}
	}
	n.kill()
	n.start()
	works()
	for i, s := range sicknesses {
		began := time.Now()
		if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: sick[i].pod}); err != nil {
			t.Errorf("%s: remove: %v", s.name, err)
		}
		t.Logf("%s: removed in %v", s.name, time.Since(began))
	}
	n.agree(mounts)
	if got := len(n.lists().pods); got != len(healthy) {
		t.Errorf("%d pods are listed, %d are healthy", got, len(healthy))
	}
	n.emptied(mounts)
	quarantined := glob(n.dir + "/root/state/quarantine/*")
	if len(quarantined) == 0 {
		t.Error("no damaged record was kept for a person to look at")
	}
	for _, file := range quarantined {
		os.Remove(file)
	}
}

// asPoser in its environment makes the test binary do nothing, for ever.
const asPoser = "PODLET_TEST_POSE"

func init() {
	if os.Getenv(asPoser) != "" {
		// With a channel that somebody could write to, else the runtime calls it a deadlock.
		idle := make(chan os.Signal, 1)
		signal.Notify(idle)
		for {
			<-idle
		}
	}
}

// dynamic says whether a program needs an interpreter.
func dynamic(binary []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(binary))
	return err != nil || slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// TestContainerPosesAsPause: a process in a container that calls itself the pause of another pod is not taken for it.
func TestContainerPosesAsPause(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	sandbox := n.sandbox("posed", observed(true))
	pod := n.run(sandbox)
	victim := n.startIn(pod, sandbox, container("victim", "sleep", "1000"))
	// In a pod without a guard, so that its PID namespaces tell nothing.
	other := n.sandbox("poser", observed(true), sharing(func(o *cri.NamespaceOption) { o.Pid = cri.NamespaceMode_NODE }))
	poser := n.run(other)
	title := "podlet-pause " + pod[:31]
	dir := t.TempDir()
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if dynamic(binary) {
		t.Skip("needs a test binary without an interpreter: CGO_ENABLED=0, so not with -race")
	}
	if err := os.WriteFile(filepath.Join(dir, title), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	config := n.like(other, container("poser", title))
	config.Envs = []*cri.KeyValue{{Key: "PATH", Value: []byte("/poser")}, {Key: asPoser, Value: []byte("1")}}
	config.Mounts = []*cri.Mount{{HostPath: dir, ContainerPath: "/poser"}}
	posing := n.startIn(poser, other, config)
	pid := n.seenContainer(posing).PID
	if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); string(line) != title+"\x00" {
		t.Fatalf("the poser calls itself %q: nothing is tested", line)
	}
	pause := n.seenPod(pod).PID
	n.kill()
	n.start()
	if got := n.seenPod(pod).PID; got != pause {
		t.Errorf("pause is process %d, podlet says %d; the poser is %d", pause, got, pid)
	}
	if s := n.status(victim); s.State != cri.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the victim: %v", s)
	}
	if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Fatal(err)
	}
	if len(alive([]int{pause})) > 0 || len(alive([]int{pid})) == 0 {
		t.Errorf("pause alive: %v, poser alive: %v", alive([]int{pause}), alive([]int{pid}))
	}
	n.emptied(mounts)
}

// TestPauseStopped: a pause that doesn't answer keeps nobody from ending what is in its pod.
func TestPauseStopped(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	for _, v := range n.victims("") {
		if err := unix.Kill(v.pause, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		// pause doesn't answer before it is dead: whoever waits for it waits for ever.
		began := time.Now()
		if _, err := n.StopContainer(n.ctx(), &cri.StopContainerRequest{ContainerId: v.containers[0]}); err != nil {
			t.Errorf("%s: StopContainer: %v", v.name, err)
		}
		container := time.Since(began)
		if s := n.status(v.containers[0]); s.State != cri.ContainerState_CONTAINER_EXITED || s.ExitCode != 137 {
			t.Errorf("%s: after StopContainer: %v", v.name, s)
		}
		began = time.Now()
		if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: v.pod}); err != nil {
			t.Errorf("%s: StopPodSandbox: %v", v.name, err)
		}
		t.Logf("%s: StopContainer %v, StopPodSandbox %v", v.name, container, time.Since(began))
		gone(t, v.name, time.Now(), append(v.processes, v.pause))
	}
	n.emptied(mounts)
}
