package machine

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestChanges(t *testing.T) {
	before := &Machine{things: map[string]int{"mount / (ext4)": 1, "link lo": 1, "file /tmp/a": 1, "cgroup /sys/fs/cgroup/a": 1}}
	after := &Machine{
		things: map[string]int{"mount / (ext4)": 2, "file /tmp/b": 1, "cgroup /sys/fs/cgroup/b": 1, "cgroup /sys/fs/cgroup/c": 1},
		others: map[string]bool{"cgroup /sys/fs/cgroup/c": true},
	}
	want := []string{
		"gone, but there before: link lo",
		"left behind: cgroup /sys/fs/cgroup/b",
		"left behind: file /tmp/b",
		"left behind: mount / (ext4)",
	}
	if got := before.Changes(after); !slices.Equal(got, want) {
		t.Errorf("changes = %q, want %q", got, want)
	}
	if got := before.Changes(before); len(got) != 0 {
		t.Errorf("no change reads as %q", got)
	}
}

func TestParseStat(t *testing.T) {
	p, ok := parseStat(7, "7 (a) (b c) S 42 7 7 0 -1")
	if !ok || p.Parent != 42 || p.Name != "a) (b c" {
		t.Errorf("parseStat = %+v, %v", p, ok)
	}
	for _, broken := range []string{"", "7 a S 1", "7 (a) S", "7 )a( S 1"} {
		if p, ok := parseStat(7, broken); ok {
			t.Errorf("parseStat(%q) = %+v, want a refusal", broken, p)
		}
	}
}

// A process that lost its parent, and left its session too, is found: this is what names and groups can't do.
func TestOrphanIsFound(t *testing.T) {
	if err := BecomeSubreaper(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })

	out, err := exec.Command("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo").Output()
	if err != nil {
		t.Fatalf("start an orphan: %v, %s", err, out)
	}
	found, err := Descendants(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 {
		t.Fatalf("descendants = %v, want the one orphan", found)
	}
	if err := unix.Kill(found[0].PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if pid, err := unix.Wait4(found[0].PID, nil, 0, nil); err != nil || pid != found[0].PID {
		t.Fatalf("wait for the orphan: %d, %v", pid, err)
	}
}
