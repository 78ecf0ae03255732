package testimage

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// needsGo skips where images can't be made: the guest of hack/vm brings them along, made outside.
func needsGo(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no Go toolchain here to build the probe with")
	}
}

// TestReadyMade: each image is whole, the same each time, and found again.
func TestReadyMade(t *testing.T) {
	needsGo(t)
	for which, name := range map[string]string{"busybox": BusyboxName, "tools": ToolsName, "scratch": ScratchName} {
		i, err := Make(which)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Make(which)
		if err != nil {
			t.Fatal(err)
		}
		id, err := i.ID()
		if err != nil {
			t.Fatal(err)
		}
		if other, _ := again.ID(); other != id {
			t.Errorf("%s: id %s, then %s", which, id, other)
		}
		if i.Names[0] != name {
			t.Errorf("%s is called %s", which, i.Names[0])
		}
		dir, err := Layout(which)
		if err != nil {
			t.Fatal(err)
		}
		if second, _ := Layout(which); second != dir {
			t.Errorf("%s: at %s, then %s", which, dir, second)
		}
		index, err := os.ReadFile(filepath.Join(dir, "index.json"))
		if err != nil || !bytes.Contains(index, []byte(name)) {
			t.Errorf("%s: index %s, %v", which, index, err)
		}
	}
	if _, err := Layout("none"); err == nil {
		t.Error("an image that isn't there")
	}
}

// TestGivenDirectory: where the variable names a directory, nothing is built.
func TestGivenDirectory(t *testing.T) {
	t.Setenv(dirVariable, "/given")
	if dir, err := Layout("tools"); err != nil || dir != "/given/tools" {
		t.Errorf("%s, %v", dir, err)
	}
}

// file gives the content of name in the layers' last tar that has it.
func file(t *testing.T, i Image, name string) []byte {
	t.Helper()
	var found []byte
	for _, l := range i.Layers {
		r := tar.NewReader(bytes.NewReader(l.Tar))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Name == name {
				if found, err = io.ReadAll(r); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if found == nil {
		t.Fatalf("no %s in the image", name)
	}
	return found
}

// TestProbe runs the image's probe on this machine.
func TestProbe(t *testing.T) {
	needsGo(t)
	i, err := Make("scratch")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "probe")
	if err := os.WriteFile(path, file(t, i, "probe"), 0o755); err != nil {
		t.Fatal(err)
	}
	if !isStatic(path) {
		t.Error("the probe is not static")
	}
	probe := func(args ...string) *exec.Cmd {
		cmd := exec.Command(path, args...)
		cmd.Env = []string{"ONLY=this"}
		return cmd
	}
	out, err := probe("show").Output()
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		UID        int
		Env        []string
		FDs        map[string]string
		Namespaces map[string]string
		Limits     map[string][2]uint64
		Status     map[string]string
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r.UID != os.Getuid() || strings.Join(r.Env, " ") != "ONLY=this" || len(r.Namespaces) != 8 || r.Limits["nofile"][1] == 0 || r.Status["CapEff"] == "" {
		t.Errorf("%s", out)
	}
	for fd, target := range r.FDs {
		// What "go test" was started with may be open in everything it starts.
		if own, err := os.Readlink("/proc/self/fd/" + fd); !slices.Contains([]string{"0", "1", "2"}, fd) && (err != nil || own != target) {
			t.Errorf("file %s, %s, is open", fd, target)
		}
	}
	var exit *exec.ExitError
	if err := probe("exit", "7").Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Error(err)
	}
	if out, err := probe("flood", "100000").Output(); err != nil || len(out) != 100000 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if err := probe("none").Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Error(err)
	}
	cat := probe("cat")
	cat.Stdin = strings.NewReader("in")
	if out, err := cat.Output(); err != nil || string(out) != "in" {
		t.Errorf("%q, %v", out, err)
	}
}
