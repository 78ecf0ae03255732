package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
)

// layers makes n lower layers, each with a file of its own name and one called "same", and a writable layer.
func layers(t testing.TB, n int) OverlayConfig {
	t.Helper()
	dir := t.TempDir()
	c := OverlayConfig{Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")}
	must(t, os.Mkdir(c.Upper, 0o755))
	must(t, os.Mkdir(c.Work, 0o755))
	for i := range n {
		d := filepath.Join(dir, fmt.Sprintf("layer-with-quite-a-long-name-as-they-have-%03d", i))
		must(t, os.Mkdir(d, 0o755))
		write(t, filepath.Join(d, fmt.Sprint(i)), fmt.Sprint(i))
		write(t, filepath.Join(d, "same"), fmt.Sprint(i))
		c.Lower = append(c.Lower, d)
	}
	return c
}

func TestOverlay(t *testing.T) {
	for _, n := range []int{1, 8, 120, 499} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			eachWay(t, detachedOverlay, func(t *testing.T, m *Mounter) {
				c := layers(t, n)
				c.Volatile = true
				before := privatetest.Mounts()
				f := closed(t)(m.Overlay(c))
				if after := privatetest.Mounts(); !slices.Equal(after, before) {
					t.Error("the mount table changed")
				}
				root := attach(t, f)
				for i := range n {
					if got := read(t, filepath.Join(root, fmt.Sprint(i))); got != fmt.Sprint(i) {
						t.Errorf("layer %d: %q", i, got)
					}
				}
				if got := read(t, filepath.Join(root, "same")); got != "0" {
					t.Errorf("top layer hidden by %q", got)
				}
				write(t, filepath.Join(root, "new"), "x")
				if got := read(t, filepath.Join(c.Upper, "new")); got != "x" {
					t.Errorf("upper holds %q", got)
				}
				line := options(t, root)
				for _, word := range []string{" rw,", "volatile", " - overlay overlay "} {
					if !strings.Contains(line, word) {
						t.Errorf("%q is missing in %s", word, line)
					}
				}
				for _, word := range []string{"index=on", "metacopy=on", "redirect_dir=on", "userxattr"} {
					if strings.Contains(line, word) {
						t.Errorf("%q in %s", word, line)
					}
				}
			})
		})
	}
}

func TestOverlayReadOnly(t *testing.T) {
	for _, n := range []int{1, 2} {
		eachWay(t, detachedLayers, func(t *testing.T, m *Mounter) {
			c := layers(t, n)
			c.Upper, c.Work = "", ""
			root := attach(t, closed(t)(m.Overlay(c)))
			if got := read(t, filepath.Join(root, "same")); got != "0" {
				t.Errorf("read %q", got)
			}
			if err := os.WriteFile(filepath.Join(root, "new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
				t.Errorf("write: %v", err)
			}
		})
	}
	eachWay(t, detachedOverlay, func(t *testing.T, m *Mounter) {
		c := layers(t, 2)
		c.ReadOnly = true
		root := attach(t, closed(t)(m.Overlay(c)))
		if err := os.WriteFile(filepath.Join(root, "new"), nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("write: %v", err)
		}
	})
}

// A layer's xattrs shall not make overlayfs look elsewhere.
func TestOverlayFollowsNoRedirect(t *testing.T) {
	eachWay(t, detachedOverlay, func(t *testing.T, m *Mounter) {
		c := layers(t, 2)
		must(t, os.Mkdir(filepath.Join(c.Lower[0], "dir"), 0o755))
		must(t, os.Mkdir(filepath.Join(c.Lower[1], "secret"), 0o755))
		write(t, filepath.Join(c.Lower[1], "secret/file"), "x")
		must(t, unix.Setxattr(filepath.Join(c.Lower[0], "dir"), "trusted.overlay.redirect", []byte("/secret"), 0))
		root := attach(t, closed(t)(m.Overlay(c)))
		if _, err := os.Stat(filepath.Join(root, "dir/file")); err == nil {
			t.Error("the redirect was followed")
		}
	})
}

func TestOverlayUserNS(t *testing.T) {
	eachWay(t, detachedLayers, func(t *testing.T, m *Mounter) {
		need(t, m, idmappedDir)
		need(t, m, idmappedLayers)
		c := layers(t, 3)
		must(t, os.Lchown(filepath.Join(c.Lower[1], "1"), 1000, 2000))
		c.UserNS = testUserNS(t, m)
		root := attach(t, closed(t)(m.Overlay(c)))
		for path, want := range map[string]string{"": "100000:100000", "0": "100000:100000", "1": "101000:102000"} {
			if got := owner(t, filepath.Join(root, path)); got != want {
				t.Errorf("%q belongs to %s, want %s", path, got, want)
			}
		}
		// Copied up, a file keeps its owner; the layer stays as it was.
		must(t, os.Chmod(filepath.Join(root, "1"), 0o600))
		if got := owner(t, filepath.Join(root, "1")); got != "101000:102000" {
			t.Errorf("copied up: %s", got)
		}
		if got := owner(t, filepath.Join(c.Lower[1], "1")); got != "1000:2000" {
			t.Errorf("in the layer: %s", got)
		}
	})
}

func TestOverlayUserNSNotSupported(t *testing.T) {
	// proc has no idmapped mounts on any kernel.
	m := newMounter(t, WayAuto)
	fd, err := cloneTree(unix.AT_FDCWD, "/proc", false, "/proc")
	must(t, err)
	defer unix.Close(fd)
	err = setIDMap(fd, testUserNS(t, m), "/proc")
	var fe *FeatureError
	if !errors.As(err, &fe) || fe.FS != "proc" || fe.Path != "/proc" || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

func TestOverlayErrors(t *testing.T) {
	good := layers(t, 2)
	for name, change := range map[string]func(c *OverlayConfig){
		"want 1 to 500":            func(c *OverlayConfig) { c.Lower = nil },
		"want 1 to 500 ":           func(c *OverlayConfig) { c.Lower = make([]string, 501) },
		"want an absolute path":    func(c *OverlayConfig) { c.Lower = []string{"a"} },
		"want both":                func(c *OverlayConfig) { c.Work = "" },
		"two children":             func(c *OverlayConfig) { c.Work = "/elsewhere/work" },
		"two children of one":      func(c *OverlayConfig) { c.Work = c.Upper },
		"no comma":                 func(c *OverlayConfig) { c.Work += ",x" },
		"no such file":             func(c *OverlayConfig) { c.Lower = append([]string{c.Lower[0]}, "/nonexistent/layer") },
		"/nonexistent/layer: no s": func(c *OverlayConfig) { c.Lower = []string{"/nonexistent/layer"} },
		"work":                     func(c *OverlayConfig) { c.Work += "-missing" },
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, detachedOverlay, func(t *testing.T, m *Mounter) {
				_, err := m.workshop()
				must(t, err)
				before := leaks()
				c := good
				change(&c)
				_, err = m.Overlay(c)
				if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
					t.Fatalf("got %v", err)
				}
				if strings.Contains(name, "no s") && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%v is no fs.ErrNotExist", err)
				}
				if after := awaitLeaks(before); after != before {
					t.Errorf("before %s, after %s", before, after)
				}
			})
		})
	}
}

func TestOverlayVolatileTwice(t *testing.T) {
	eachWay(t, detachedOverlay, func(t *testing.T, m *Mounter) {
		c := layers(t, 2)
		c.Volatile = true
		f, err := m.Overlay(c)
		must(t, err)
		must(t, f.Close())
		_, err = m.Overlay(c)
		if err == nil || !strings.Contains(err.Error(), "was mounted volatile before") {
			t.Errorf("got %v", err)
		}
	})
}

func TestOverlayConcurrent(t *testing.T) {
	eachWay(t, detachedOverlay, func(t *testing.T, m *Mounter) {
		var group sync.WaitGroup
		for range 8 {
			c := layers(t, 5)
			group.Go(func() {
				f, err := m.Overlay(c)
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				var st unix.Stat_t
				if err := unix.Fstatat(int(f.Fd()), "4", &st, 0); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}
