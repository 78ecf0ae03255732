package pod

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/pod/spec"
)

// walked counts the whole of dir.
func walked(t *testing.T, dir string) *LayerUsage {
	t.Helper()
	w := &layerWalk{dir: dir, at: -1}
	defer w.close()
	for {
		more, err := w.step()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return w.usage()
		}
	}
}

// counted is what walked should give, had another way.
func counted(t *testing.T, dir string) *LayerUsage {
	t.Helper()
	all := &LayerUsage{}
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if !seen[st.Ino] {
			seen[st.Ino] = true
			all.Bytes += uint64(st.Blocks) * 512
			all.Inodes++
		}
		return nil
	})
	must(t, err)
	return all
}

// A tree with all that one may hold: directories among thousands of files, so that each is left and come back to in the middle of a page.
func TestLayerWalk(t *testing.T) {
	dir := t.TempDir()
	outside := t.TempDir()
	for i := range 100 {
		must(t, os.WriteFile(filepath.Join(outside, fmt.Sprint(i)), make([]byte, 1<<16), 0o600))
	}
	random := rand.New(rand.NewPCG(1, 2))
	dirs := []string{dir}
	var files []string
	for i := range 4000 {
		at := dirs[0]
		if random.IntN(2) == 0 {
			at = dirs[random.IntN(len(dirs))]
		}
		name := filepath.Join(at, fmt.Sprintf("%d-%s", i, strings.Repeat("x", random.IntN(100))))
		switch kind := random.IntN(20); {
		case kind == 0:
			must(t, os.Mkdir(name, 0o700))
			dirs = append(dirs, name)
		case kind == 1:
			must(t, os.Symlink(outside, name))
		case kind == 2:
			must(t, unix.Mknod(name, unix.S_IFCHR, 0)) // a whiteout
		case kind == 3:
			must(t, unix.Mkfifo(name, 0o600))
		case kind == 4 && len(files) > 0:
			must(t, os.Link(files[random.IntN(len(files))], name))
		case kind == 5:
			must(t, os.WriteFile(name, nil, 0))
			must(t, os.Truncate(name, 1<<30))
		default:
			must(t, os.WriteFile(name, make([]byte, random.IntN(9000)), 0))
			files = append(files, name)
		}
	}
	if got, want := walked(t, dir), counted(t, dir); got.Inodes != want.Inodes || got.Bytes != want.Bytes {
		t.Errorf("%d bytes in %d files, want %d in %d", got.Bytes, got.Inodes, want.Bytes, want.Inodes)
	}
	if empty := walked(t, t.TempDir()); empty.Inodes != 1 {
		t.Errorf("%d files in an empty layer", empty.Inodes)
	}
}

// A tree deeper than any path may be long: two open files at most, and all is counted.
func TestLayerWalkDeep(t *testing.T) {
	const depth = 3000
	dir := t.TempDir()
	at, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for range depth {
		must(t, unix.Mkdirat(at, "deep", 0o700))
		below, err := unix.Openat(at, "deep", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		must(t, unix.Close(at))
		at = below
	}
	must(t, unix.Close(at))
	if got := walked(t, dir); got.Inodes != depth+1 {
		t.Errorf("%d directories of %d", got.Inodes, depth+1)
	}
}

// A directory that is moved out of the tree while the walk is in it doesn't take the walk along.
func TestLayerWalkMoved(t *testing.T) {
	top := t.TempDir()
	dir, elsewhere := filepath.Join(top, "layer"), filepath.Join(top, "elsewhere")
	must(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	must(t, os.Mkdir(elsewhere, 0o700))
	for i := range 1000 {
		must(t, os.WriteFile(filepath.Join(elsewhere, fmt.Sprint(i)), nil, 0o600))
	}
	w := &layerWalk{dir: dir, at: -1}
	defer w.close()
	for len(w.above) < 2 {
		if more, err := w.step(); !more {
			t.Fatalf("the walk ended before it came to b: %v", err)
		}
	}
	must(t, os.Rename(filepath.Join(dir, "a", "b"), filepath.Join(elsewhere, "b")))
	var err error
	for more := true; more; {
		more, err = w.step()
	}
	if !errors.Is(err, errMoved) || w.usage().Inodes != 3 {
		t.Errorf("%v, %d files of the three that it came by", err, w.usage().Inodes)
	}
}

// Directories that become links to elsewhere and back, all the time: none is followed.
func TestLayerWalkSwapped(t *testing.T) {
	top := t.TempDir()
	dir, outside := filepath.Join(top, "layer"), filepath.Join(top, "outside")
	must(t, os.Mkdir(outside, 0o700))
	for i := range 500 {
		must(t, os.WriteFile(filepath.Join(outside, fmt.Sprint(i)), nil, 0o600))
	}
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	must(t, os.MkdirAll(real, 0o700))
	must(t, os.Symlink(outside, link))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, real, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			}
		}
	}()
	for range 2000 {
		w := &layerWalk{dir: dir, at: -1}
		for more := true; more; {
			more, _ = w.step()
		}
		w.close()
		if n := w.usage().Inodes; n > 4 {
			t.Errorf("%d files in a tree of three", n)
			break
		}
	}
	close(stop)
	<-stopped
}

// Only what was asked for lately is counted, the oldest count first, and not while it is young.
func TestLayersDue(t *testing.T) {
	now := time.Now()
	r := &Runtime{cfg: Config{Root: t.TempDir()}}
	r.mu.containers = map[string]*Container{}
	add := func(id string, asked, begun time.Duration, change func(*Container)) {
		p := &Pod{rt: r, spec: &spec.Sandbox{}}
		c := p.newContainer(id, &spec.Container{})
		c.status.Store(&ContainerStatus{State: Running})
		if asked >= 0 {
			c.layer.asked.Store(now.Add(-asked).UnixNano())
		}
		if begun >= 0 {
			c.layer.begun = now.Add(-begun)
		}
		if change != nil {
			change(c)
		}
		r.mu.containers[id] = c
	}
	add("never", -1, -1, nil)
	add("new", 0, -1, nil)
	add("old", time.Second, 20*time.Second, nil)
	add("older", time.Second, 30*time.Second, nil)
	// As if it were begun in an hour: however slow the machine is, it isn't due.
	add("young", time.Second, -1, func(c *Container) { c.layer.begun = now.Add(time.Hour) })
	add("forgotten", time.Hour, time.Hour, nil)
	add("under way", time.Second, time.Minute, func(c *Container) { c.layer.walking = true })
	add("ended", time.Second, time.Minute, func(c *Container) { c.layer.final.Store(true) })
	l := &layerCounter{rt: r}
	var walks []*layerWalk
	next := l.begin(&walks)
	var ids []string
	for _, w := range walks {
		ids = append(ids, w.c.id)
	}
	if want := []string{"new", "older", "old"}; !slices.Equal(ids, want) {
		t.Errorf("due are %q, want %q", ids, want)
	}
	if took := time.Since(now); next > time.Hour+layerTurn || next < time.Hour+layerTurn-took {
		t.Errorf("the next is due in %s, want %s", next, time.Hour+layerTurn)
	}
	for i := range 2 * layerWalks {
		add(fmt.Sprint(i), 0, -1, nil)
	}
	if l.begin(&walks); len(walks) != layerWalks {
		t.Errorf("%d walks at once", len(walks))
	}
}

// A count is told as long as it is kept up to date, and not when nobody has asked for it for long.
func TestLayerUsageAge(t *testing.T) {
	r := &Runtime{}
	c := (&Pod{rt: r, spec: &spec.Sandbox{}}).newContainer("c", &spec.Container{})
	if u := c.layerUsage(); u != nil {
		t.Errorf("before any count: %v", u)
	}
	c.layer.usage.Store(&LayerUsage{Bytes: 1, Time: time.Now().Add(-3 * time.Second)})
	if u := c.layerUsage(); u == nil || time.Since(u.Time) < 3*time.Second {
		t.Errorf("a count 3 s old: %v", u)
	}
	c.layer.final.Store(true)
	asked := time.Now()
	if u := c.layerUsage(); u == nil || u.Bytes != 1 || u.Time.Before(asked) {
		t.Errorf("the last count: %v", u)
	}
	c.layer.asked.Store(time.Now().Add(-time.Hour).UnixNano())
	if u := c.layerUsage(); u != nil || c.layer.final.Load() {
		t.Errorf("after an hour: %v", u)
	}
}
