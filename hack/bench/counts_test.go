package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"podlet/hack/machine"
	"podlet/internal/mount"
)

// traced are the calls that a launch is made of and that cost.
var traced = []string{
	"clone", "clone3", "fork", "vfork", "setns", "unshare", "mount", "umount2", "fsopen", "fsmount", "open_tree", "move_mount",
	"mount_setattr", "pivot_root", "mkdirat", "mkdir", "write", "sendto",
}

// TestMain has the tests that make bridges make them in a network namespace of their own. Without root the others still run.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 {
		if err := alone(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// TestFloorDoesPodletsKernelWork compares the calls, so that neither side can cheat: a floor that does more than podlet would flatter
// podlet, one that does less would be no floor. What is compared are the successful calls that one more pod costs, with an exec in it:
// podlet's, the nursery's, pause's and all children's together.
func TestFloorDoesPodletsKernelWork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test makes pods, so it needs root")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	m, err := mount.New(t.TempDir(), mount.WayAuto)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	kernel, err := m.Features()
	if err != nil {
		t.Fatal(err)
	}
	if !kernel.DetachedOverlay || !kernel.CloneDetached {
		t.Skip("the floor builds its overlay and its masks detached, which this kernel can't (Linux 6.15)")
	}
	if err := machine.BecomeSubreaper(); err != nil {
		t.Fatal(err)
	}
	for _, up := range []string{floorHostnet, floorNetns, floorBridge} {
		ours := perPod(t, func(o options, rounds int, strace []string) error {
			return tracePodlet(t.Context(), o, up, rounds, strace)
		})
		floor := perPod(t, func(o options, rounds int, strace []string) error {
			return traceFloor(t.Context(), o, up, rounds, strace)
		})
		names := slices.Sorted(maps.Keys(ours))
		for _, name := range names {
			t.Logf("%s: %-20s podlet %5.1f, floor %5.1f", up, name, ours[name], floor[name])
		}
		if !maps.Equal(ours, floor) {
			t.Errorf("%s: podlet and the floor differ", up)
		}
	}
}

// perPod counts with few rounds and with more, and gives what one more round costs.
func perPod(t *testing.T, run func(o options, rounds int, strace []string) error) map[string]float64 {
	t.Helper()
	const few, more = 2, 5
	o := options{podlet: "../../bin/podlet", floor: "../../build/floor"}
	var counts [2]map[string]int
	for i, rounds := range []int{few, more} {
		dir := t.TempDir()
		// -D: the traced program stays the child that is waited for and signalled; strace ends after it. -v: every request in a message.
		strace := []string{"strace", "-D", "-ff", "-qq", "-y", "-v", "-e", "trace=" + strings.Join(traced, ","), "-o", filepath.Join(dir, "trace")}
		if err := run(o, rounds, strace); err != nil {
			t.Fatal(err)
		}
		awaitTracer(t)
		counts[i] = count(t, dir)
	}
	each := map[string]float64{}
	for name := range counts[1] {
		if n := counts[1][name] - counts[0][name]; n != 0 {
			each[name] = float64(n) / (more - few)
		}
	}
	return each
}

func tracePodlet(ctx context.Context, o options, up string, rounds int, strace []string) (err error) {
	var b bench
	defer b.close(&err)
	if up == floorBridge {
		o.bridge = benchBridge
	}
	if err := b.start(ctx, o, strace...); err != nil {
		return err
	}
	for range rounds {
		if _, err := b.round(ctx, up != floorHostnet); err != nil {
			return fmt.Errorf("%w\n%s", err, b.node.LogTail())
		}
	}
	return nil
}

func traceFloor(ctx context.Context, o options, up string, rounds int, strace []string) (err error) {
	var b bench
	defer b.close(&err)
	if b.parent, err = makeParent(ctx); err != nil {
		return err
	}
	b.undo = append(b.undo, b.parent.close)
	f, err := b.startFloor(ctx, o, strace...)
	if err != nil {
		return err
	}
	if up == floorBridge {
		if _, err := f.do("bridge"); err != nil {
			return err
		}
	}
	for range rounds {
		if _, err := f.round(up); err != nil {
			return err
		}
	}
	return nil
}

// awaitTracer waits until strace, an orphan of ours, has written everything and ended.
func awaitTracer(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		machine.Reap()
		left, err := machine.Descendants(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("strace does not end")
}

var (
	call = regexp.MustCompile(`^(\w+)\((.*)\) += (-?\d+)`)
	join = regexp.MustCompile(`^\d+<[^>]*/(tasks|cgroup\.procs)>, "0"`)
	link = regexp.MustCompile(`^\d+<[^>]*/proc/sys/net/ipv[46]/conf/[^>]*/(\w+)>`)
	// Requests of rtnetlink's that change something; one call can have several. strace knows the name, or of a socket in another
	// network namespace the number.
	change      = regexp.MustCompile(`nlmsg_type=(RTM_(?:NEW|DEL|SET)\w+|0x1[048]\b)`)
	changeNames = map[string]string{"0x10": "RTM_NEWLINK", "0x14": "RTM_NEWADDR", "0x18": "RTM_NEWROUTE"}
)

// count counts the successful calls in the traces of all processes.
func count(t *testing.T, dir string) map[string]int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "trace.*"))
	if err == nil && len(files) == 0 {
		err = errors.New("strace wrote nothing")
	}
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			m := call.FindStringSubmatch(line)
			if m == nil || strings.HasPrefix(m[3], "-") {
				continue
			}
			for _, name := range classes(m[1], m[2]) {
				counts[name]++
			}
		}
	}
	return counts
}

// classes is what a call counts as; none if it is none of ours.
func classes(name, args string) []string {
	switch name {
	case "write":
		if join.MatchString(args) {
			return []string{"cgroup join"}
		}
		if m := link.FindStringSubmatch(args); m != nil {
			return []string{"sysctl " + m[1]}
		}
		return nil
	case "clone", "clone3", "fork", "vfork":
		if strings.Contains(args, "CLONE_THREAD") {
			return nil
		}
		return []string{"clone"}
	case "mkdir", "mkdirat":
		if strings.Contains(args, "/sys/fs/cgroup") {
			return []string{"mkdir of a cgroup"}
		}
		return nil
	case "sendto":
		var changes []string
		for _, m := range change.FindAllStringSubmatch(args, -1) {
			changes = append(changes, cmp.Or(changeNames[m[1]], m[1]))
		}
		return changes
	}
	return []string{name}
}
