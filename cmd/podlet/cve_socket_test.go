package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// socketsSeen is what a container sees of /proc/net/unix, and which of it took a connection.
type socketsSeen struct {
	Names, Connected []string
}

// TestCVE_E5: podlet has no abstract socket, and none that a container can reach (CVE-2020-15257). A pod with its own network namespace doesn't even see a name.
func TestCVE_E5(t *testing.T) {
	n := hostileNode(t)
	for name, change := range map[string]func(*cri.NamespaceOption){
		"own":  func(*cri.NamespaceOption) {},
		"node": func(o *cri.NamespaceOption) { o.Network = cri.NamespaceMode_NODE },
	} {
		sandbox := n.sandbox(name, sharing(change))
		pod := n.run(sandbox)
		var seen socketsSeen
		n.attackOnce(pod, sandbox, "app", "unix", &seen)
		if name == "own" && len(seen.Names) > 0 {
			t.Errorf("sockets in a pod's own network namespace: %q", seen.Names)
		}
		for _, s := range append(seen.Names, seen.Connected...) {
			if strings.HasPrefix(s, "@") && strings.Contains(s, "podlet") {
				t.Errorf("%s: an abstract socket of podlet's: %s", name, s)
			}
		}
		for _, s := range seen.Connected {
			if strings.HasPrefix(s, n.dir) {
				t.Errorf("%s: connected to %s", name, s)
			}
		}
		if name == "node" && len(seen.Names) == 0 {
			t.Error("node: no socket seen at all: the attack did not work")
		}
	}
}

func attackUnix() any {
	var seen socketsSeen
	text, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 8 || f[0] == "Num" {
			continue
		}
		seen.Names = append(seen.Names, f[7])
		for _, kind := range []string{"unix", "unixpacket"} {
			if conn, err := net.Dial(kind, f[7]); err == nil {
				conn.Close()
				seen.Connected = append(seen.Connected, f[7])
			}
		}
	}
	return seen
}

// TestCVE_C14: what podlet keeps is root's alone, whatever it was started with (CVE-2024-25621).
func TestCVE_C14(t *testing.T) {
	old := unix.Umask(0)
	n := newNode(t)
	unix.Umask(old)
	sandbox := n.sandbox("modes")
	pod := n.run(sandbox)
	n.startIn(pod, sandbox, container("app", "sleep", "1000"))
	sockets := 0
	for _, top := range []string{"root", "state", "podlet.sock"} {
		at := filepath.Join(n.dir, top)
		err := filepath.WalkDir(at, func(path string, e fs.DirEntry, err error) error {
			var info fs.FileInfo
			if err == nil {
				info, err = e.Info()
			}
			if errors.Is(err, fs.ErrNotExist) && path != at {
				return nil // podlet works beside this: a record's new text, a layer that is being marked as durable
			}
			if err != nil {
				return err
			}
			switch {
			case e.Type() == fs.ModeSocket:
				sockets++
				if info.Mode().Perm() != 0o600 {
					t.Errorf("socket %s has mode %o", path, info.Mode().Perm())
				}
			case filepath.Base(path) == top && info.Mode().Perm() != 0o700:
				t.Errorf("%s has mode %o", path, info.Mode().Perm())
			case e.IsDir() && (filepath.Base(path) == "diff" || filepath.Base(path) == "upper"):
				return fs.SkipDir // a root filesystem: its modes are the image's
			case info.Mode().Perm()&0o022 != 0 && e.Type()&fs.ModeSymlink == 0:
				t.Errorf("%s can be written by others: mode %o", path, info.Mode().Perm())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// The CRI's, the debug socket and the pause's.
	if sockets != 3 {
		t.Errorf("%d sockets were looked at", sockets)
	}
}
