package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
		// podlet may be just about to close a log.
		var err error
		for deadline := time.Now().Add(hangTime); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if err = unix.Unmount(at, 0); err != unix.EBUSY {
				break
			}
		}
		if err != nil {
			t.Errorf("unmount %s: %v", at, err)
		}
	})
	return d
}

// frozenMost is how long the disk stays frozen if all goes wrong, in seconds: longer than anything is waited for (hangTime).
const frozenMost = "120"

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
	for deadline := time.Now().Add(hangTime); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		all := processes()
		for _, p := range all {
			if !strings.HasPrefix(p.title, "podlet-logger") || !descends(all, p.pid, os.Getpid()) {
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

// TestFrozenLogDisk: with the disk of its logs frozen a pod can be worked with, and ended. The disk isn't thawed before all of that is done, so that whoever waits for it
// waits in vain.
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
	measure := func(what string, f func()) {
		began := time.Now()
		f()
		t.Logf("%s: %v", what, time.Since(began))
	}
	reported := false
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
		st := n.status(s.talker)
		if st.ExitCode != 137 || st.State != cri.ContainerState_CONTAINER_EXITED {
			t.Errorf("the talker after its stop: %v", st)
		}
		reported = reported || st.Message == ""
	}
	if !reported {
		t.Error("no pause reported the end of a container in time; podlet saw for itself")
	}
	n.kill()
	n.start()
	measure("a new podlet's handshakes", func() {
		n.soon("the others run", func() bool {
			running := 0
			for _, c := range n.lists().containers {
				if c.State == cri.ContainerState_CONTAINER_RUNNING {
					running++
				}
			}
			return running == len(subjects)
		})
	})
	for i, s := range subjects {
		name := kinds[i].name
		measure("exec", echo(s.other))
		measure("StopPodSandbox", func() {
			if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: s.pod}); err != nil {
				t.Error(err)
			}
		})
		// Where the node's PID namespace is theirs, they were killed and end a moment later.
		n.soon(name+": no processes of a stopped pod are there", func() bool { return len(n.observe().containers[s.other]) == 0 })
		measure("RemovePodSandbox", func() {
			if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: s.pod}); err != nil {
				t.Error(err)
			}
		})
	}
	d.thaw()
	n.agree(mounts)
}
