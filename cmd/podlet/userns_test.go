package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestUserNamespaceVolumes: in a pod with a user namespace ids are the pod's own: in the image, in a volume that is mapped, and not in
// one that isn't.
func TestUserNamespaceVolumes(t *testing.T) {
	n := commonNode(t)
	p := n.newPod(sharing(userNS))
	options := p.config.Linux.SecurityContext.NamespaceOptions.UsernsOptions
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 1000, 100); err != nil {
		t.Fatal(err)
	}
	config := n.like(p.config, container("app", "sh", "-c", `
		cat /proc/self/uid_map | tr -s ' '; id -u; stat -c %u:%g /bin/busybox /home/app /mapped/file /plain/file /etc/hosts /dev/shm /dev/null /proc/1
		touch /mapped/new /root/new && echo written; touch /plain/new 2>/dev/null || echo refused; echo x > /dev/null && echo null`))
	config.Mounts = []*cri.Mount{
		{HostPath: dir, ContainerPath: "/mapped", UidMappings: options.Uids, GidMappings: options.Gids},
		{HostPath: dir, ContainerPath: "/plain"},
	}
	out := p.output(config)
	want := " 0 1048576 65536\n0\n0:0\n1000:1000\n1000:100\n65534:65534\n0:0\n0:0\n0:0\n0:0\nwritten\nrefused\nnull\n"
	if out != want {
		t.Errorf("%q, want %q", out, want)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "new"), &st); err != nil || st.Uid != 0 || st.Gid != 0 {
		t.Errorf("what the pod's root wrote to a mapped volume is %d:%d's, %v", st.Uid, st.Gid, err)
	}
	sleeper := p.start(n.like(p.config, container("sleeper", "sleep", "1000")))
	// In the middle of execve, where StartContainer returns, it is not dumpable yet: then its files in /proc are the node's root's.
	n.soon("the pod's root is another on the node", func() bool {
		err := unix.Stat(fmt.Sprintf("/proc/%d", n.seenContainer(sleeper).PID), &st)
		return err == nil && st.Uid == 1<<20
	})
	if out, _ := n.exec(sleeper, "id", "-u"); out != "0\n" {
		t.Errorf("an exec runs as %s", out)
	}
}
