package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// disk is a file system in a file, which can be frozen: who writes to it then sleeps in the kernel, and SIGKILL doesn't wake him.
type disk struct {
	t        *testing.T
	at       string
	watchdog *exec.Cmd // while it is frozen
}

func newDisk(t *testing.T, at string) *disk {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 32<<20); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no file system that can be frozen: %q: %v: %s", args, err, out)
		}
	}
	run("mkfs.ext4", "-q", "-F", image)
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	run("mount", "-o", "loop", image, at)
	d := &disk{t: t, at: at}
	t.Cleanup(func() {
		d.thaw()
		if err := unix.Unmount(at, 0); err != nil {
			t.Errorf("unmount %s: %v", at, err)
		}
	})
	return d
}

// frozenMost is how long the disk stays frozen if all goes wrong.
const frozenMost = "40"

// freeze freezes the disk until thaw. A process of its own thaws it should this one end before.
func (d *disk) freeze() {
	d.t.Helper()
	dog := exec.Command("sh", "-c", `sleep `+frozenMost+`; fsfreeze -u "$0"`, d.at)
	dog.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := dog.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.watchdog = dog
	if out, err := exec.Command("fsfreeze", "-f", d.at).CombinedOutput(); err != nil {
		d.t.Fatalf("fsfreeze: %v: %s", err, out)
	}
}

// thaw may be called more than once.
func (d *disk) thaw() {
	exec.Command("fsfreeze", "-u", d.at).Run()
	if d.watchdog != nil {
		syscall.Kill(-d.watchdog.Process.Pid, syscall.SIGKILL)
		d.watchdog.Wait()
		d.watchdog = nil
	}
}

// stuck waits until a log writer hangs on the disk.
func stuck(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, p := range processes() {
			if !strings.HasPrefix(p.title, "podlet-logger") || !descends(processes(), p.pid, os.Getpid()) {
				continue
			}
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
			if strings.Contains(string(stat), ") D ") {
				return
			}
		}
	}
	t.Fatal("no log writer hangs: nothing is tested")
}

// TestFrozenLogDisk: with the disk of its logs frozen a pod can be worked with, and ended.
func TestFrozenLogDisk(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	d := newDisk(t, filepath.Join(n.dir, "logs"))
	mounts := mountTable()
	type subject struct {
		pod, talker, other, quitter string
	}
	var subjects []subject
	talk := "while :; do echo something; sleep 0.01; done"
	for _, k := range kinds {
		sandbox := n.sandbox(k.name, sharing(k.change), observed(k.own))
		s := subject{pod: n.run(sandbox)}
		in := func(name, script string) string {
			c := n.like(sandbox, container(name, "sh", "-c", script))
			return n.startIn(s.pod, sandbox, c)
		}
		s.talker, s.other, s.quitter = in("talker", talk), in("other", talk), in("quitter", "while [ ! -e /quit ]; do usleep 1000; done; echo bye; exit 5")
		subjects = append(subjects, s)
	}
	d.freeze()
	stuck(t)
	took := map[string][]time.Duration{}
	measure := func(what string, f func()) {
		began := time.Now()
		f()
		took[what] = append(took[what], time.Since(began))
	}
	echo := func(c string) func() {
		return func() {
			if out, code := n.exec(c, "echo", "here"); out != "here\n" || code != 0 {
				t.Errorf("exec %q, %d", out, code)
			}
		}
	}
	for i, s := range subjects {
		name := kinds[i].name
		measure("exec", echo(s.talker))
		measure("exit code", func() {
			n.exec(s.quitter, "touch", "/quit")
			if st := n.exited(s.quitter); st.ExitCode != 5 {
				t.Errorf("%s: the quitter: %v", name, st)
			}
		})
		measure("StopContainer", func() {
			if _, err := n.StopContainer(n.ctx(), &cri.StopContainerRequest{ContainerId: s.talker}); err != nil {
				t.Error(err)
			}
		})
		if st := n.status(s.talker); st.ExitCode != 137 || st.State != cri.ContainerState_CONTAINER_EXITED {
			t.Errorf("the talker after its stop: %v", st)
		}
	}
	n.kill()
	n.start()
	measure("a new podlet's handshakes", func() {
		for {
			running := 0
			for _, c := range n.lists().containers {
				if c.State == cri.ContainerState_CONTAINER_RUNNING {
					running++
				}
			}
			if running == len(subjects) {
				return
			}
		}
	})
	for i, s := range subjects {
		name := kinds[i].name
		measure("exec", echo(s.other))
		measure("StopPodSandbox", func() {
			if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: s.pod}); err != nil {
				t.Error(err)
			}
		})
		if got := n.observe().containers[s.other]; len(got) > 0 {
			t.Errorf("%s: processes %v of a stopped pod are there", name, got)
		}
		measure("RemovePodSandbox", func() {
			if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: s.pod}); err != nil {
				t.Error(err)
			}
		})
	}
	d.thaw()
	n.agree(mounts)
	for what, most := range map[string]time.Duration{
		"exec": bar, "exit code": bar, "StopContainer": bar, "a new podlet's handshakes": bar,
		"StopPodSandbox": time.Second, "RemovePodSandbox": time.Second,
	} {
		if os.Getenv("PODLET_VM") != "" {
			most *= 6 // an emulator's slowness
		}
		all := took[what]
		slices.Sort(all)
		middle := all[len(all)/2]
		t.Logf("%s: %v (p50), %v (most)", what, middle, all[len(all)-1])
		// The middle one: on a machine with more to do than CPUs any one may have to wait for its turn.
		if middle > most || all[len(all)-1] > 5*most {
			t.Errorf("with the disk frozen, %s took %v, more than %v", what, all, most)
		}
	}
}
