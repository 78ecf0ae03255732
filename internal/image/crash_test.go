package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/testimages/testimage"
)

// playRole runs this test binary as a podlet that is killed: it works on the store and sends itself SIGKILL after step number k.
func playRole(role string) int {
	if role == "describe" {
		return describeRole()
	}
	f := strings.Split(role, "|")
	what, root := f[0], f[1]
	k, err := strconv.Atoi(f[2])
	if err != nil {
		fmt.Println(err)
		return 1
	}
	s, err := open(root, "boot-1")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	s.HoldsComplete()
	n := 0
	s.step = func(string) {
		if n++; n == k {
			unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}
	if err := work(s, what, f[3:]); err != nil {
		fmt.Println(err)
		return 1
	}
	if s.Close() != nil {
		return 1
	}
	return 0
}

func work(s *Store, what string, args []string) error {
	switch what {
	case "import":
		_, err := s.Import(context.Background(), args[0], ImportOptions{})
		return err
	case "remove":
		return s.Remove(args[0])
	case "remove-held":
		if _, err := s.Hold(args[0], "holder"); err != nil {
			return err
		}
		if err := s.Remove(args[0]); err != nil {
			return err
		}
		s.Release("holder")
		return nil
	}
	return fmt.Errorf("no work %q", what)
}

// TestKillAtEveryStep kills the process after its first step, its second, and so on until it gets through, each time on a fresh store, and looks at what a new one finds.
func TestKillAtEveryStep(t *testing.T) {
	for _, what := range []string{"import", "remove", "remove-held"} {
		t.Run(what, func(t *testing.T) {
			for k := 1; ; k++ {
				if k > 60 {
					t.Fatal("never got through")
				}
				if killedAt(t, what, k) {
					continue
				}
				if k < 3 {
					t.Fatalf("only %d steps: the seam is gone", k-1)
				}
				return
			}
		})
	}
}

// killedAt reports whether the process was killed at step k, having checked the store.
func killedAt(t *testing.T, what string, k int) bool {
	root := filepath.Join(t.TempDir(), "store")
	first, second := twoImages(t)
	firstDir, secondDir := t.TempDir(), t.TempDir()
	must(t, first.WriteLayout(firstDir))
	must(t, second.WriteLayout(secondDir))
	s := openStore(t, root, "boot-1")
	kept, err := s.Import(context.Background(), firstDir, ImportOptions{})
	must(t, err)
	must(t, s.Close())
	closedStores.Store(s, true)

	arg := secondDir
	if what != "import" {
		arg = first.Names[0]
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+strings.Join([]string{what, root, strconv.Itoa(k), arg}, "|"))
	out, err := cmd.CombinedOutput()
	killed := strings.Contains(fmt.Sprint(err), "signal: killed")
	if err != nil && !killed {
		t.Fatalf("%s, step %d: %v\n%s", what, k, err, out)
	}

	s = openStore(t, root, "boot-1")
	checkStore(t, s)
	if what == "import" {
		// The name is one image's, whichever; the first image is there whatever happened to the second.
		if _, err := s.Get(kept[0].ID.String()); err != nil {
			t.Fatalf("step %d: %v", k, err)
		}
		if _, err := s.Get(first.Names[0]); err != nil {
			t.Fatalf("step %d: %v", k, err)
		}
	}
	// What was cut short can be done again.
	if what == "import" {
		_, err = s.Import(context.Background(), secondDir, ImportOptions{})
	} else if err = s.Remove(arg); err != nil && strings.Contains(err.Error(), ErrNotFound.Error()) {
		err = nil
	}
	must(t, err)
	checkStore(t, s)
	if what != "import" && s.FsInfo().Bytes != 0 {
		t.Fatalf("step %d: layers left after removal: %+v", k, s.FsInfo())
	}
	return killed
}

// twoImages have one layer and the name in common.
func twoImages(t testing.TB) (first, second testimage.Image) {
	shared := layerOf(t, testimage.NewTree().Dir("etc", 0o755).File("etc/passwd", 0o644, "root:x:0:0::/root:/bin/sh\n"))
	first = testimage.Image{Names: []string{"podlet.test/two:latest"}, Layers: []testimage.Layer{
		shared, layerOf(t, testimage.NewTree().File("first", 0o644, "1")),
	}}
	second = testimage.Image{Names: first.Names, Layers: []testimage.Layer{
		shared, layerOf(t, testimage.NewTree().File("second", 0o644, "2")),
	}}
	return first, second
}

func layerOf(t testing.TB, tree *testimage.Tree) testimage.Layer {
	t.Helper()
	l, err := tree.Layer(testimage.Gzip)
	must(t, err)
	return l
}

// checkStore holds the disk to what the store believes: nothing more, nothing less.
func checkStore(t testing.TB, s *Store) {
	t.Helper()
	waitSwept(t, s)
	want := map[string]bool{}
	s.mu.Lock()
	for id := range s.mu.layers {
		want[layerDir(id)] = true
	}
	for _, i := range s.mu.images {
		want[i.dir()] = true
		for _, l := range i.Layers {
			if s.mu.layers[l] == nil {
				t.Errorf("image %s lists layer %s, which the store hasn't", i.ID, l)
			}
		}
	}
	s.mu.Unlock()
	for _, dir := range []string{dirLayers, dirImages, dirTmp} {
		names, err := s.names(dir)
		must(t, err)
		for _, n := range names {
			if !want[n] {
				t.Errorf("%s is left over", n)
			}
			delete(want, n)
		}
	}
	for n := range want {
		t.Errorf("%s is missing", n)
	}
}

// waitSwept waits for the goroutine that empties tmp.
func waitSwept(t testing.TB, s *Store) {
	t.Helper()
	<-s.swept
}
