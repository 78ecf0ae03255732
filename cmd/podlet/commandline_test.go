package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// podletEnds runs a command of podlet's to its end, with stdin as its standard input.
func podletEnds(t *testing.T, stdin []byte, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asPodlet+"=1")
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &problems
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// isEmpty checks that nothing was made in a directory.
func isEmpty(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		t.Errorf("%s was made in %s", e.Name(), dir)
	}
}

// TestUnknownCommand: a word that is no command is an error, in a group of commands as well.
func TestUnknownCommand(t *testing.T) {
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"foo"}, []string{`unknown command "foo" for "podlet"`}},
		{[]string{"image", "foo"}, []string{`unknown command "foo" for "podlet image"`}},
		{[]string{"image", "--root", "/none", "lisst", "more"}, []string{`unknown command "lisst" for "podlet image"`, "Did you mean this?\n\tlist\n"}},
		{[]string{"network", "foo"}, []string{`unknown command "foo" for "podlet network"`}},
		{[]string{"network", "rem"}, []string{`unknown command "rem"`, "Did you mean this?\n\tremove\n"}},
	} {
		out, problems, status := podletEnds(t, nil, c.args...)
		for _, want := range c.says {
			if status != 1 || out != "" || !contains(problems, want) {
				t.Errorf("%q: status %d, %q, %q lacks %q", c.args, status, out, problems, want)
			}
		}
	}
	for _, args := range [][]string{{"image"}, {"network"}, {"image", "--help"}} {
		if out, problems, status := podletEnds(t, nil, args...); status != 0 || problems != "" || !contains(out, "Available Commands:") {
			t.Errorf("%q: status %d, %q, %q", args, status, out, problems)
		}
	}
}

// TestServeChecksItsFlagsFirst: serve makes nothing before it has seen that its flags, or the keys of its config file, can be.
func TestServeChecksItsFlagsFirst(t *testing.T) {
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"--listen", "podlet.sock"}, []string{"--listen", `"podlet.sock"`, "unix:///"}},
		{[]string{"--root", "root"}, []string{"--root", `"root"`, "absolute"}},
		{[]string{"--state", "state"}, []string{"--state", `"state"`, "absolute"}},
		{[]string{"--log-level", "loud"}, []string{"--log-level"}},
		{[]string{"--pinned-images", "NO"}, []string{"--pinned-images", "NO"}},
		{[]string{"--pull-window", "soon"}, []string{"--pull-window", `"soon"`}},
		{[]string{"--pull-min-rate", "0"}, []string{"--pull-min-rate"}},
		{[]string{"--network", "x"}, []string{"--network", `"x"`}},
		{[]string{"--bridge", "none"}, []string{"--network none"}},
		{[]string{"--pod-subnets", "foo"}, []string{"--pod-subnets", `"foo"`}},
		{[]string{"--no-masquerade", "foo"}, []string{"--no-masquerade", `"foo"`}},
		{[]string{"--bridge", "a/b"}, []string{"--bridge", `"a/b"`}},
		{[]string{"--bridge", "sixteen_letters_"}, []string{"--bridge", `"sixteen_letters_"`}},
		{[]string{"--pod-subnets", "10.77.0.1/24"}, []string{"--pod-subnets", "10.77.0.1/24"}},
		{[]string{"--pod-subnets", "10.77.0.0/30"}, []string{"--pod-subnets", "10.77.0.0/30", "/29"}},
		{[]string{"--pod-subnets", "10.78.0.0/24"}, []string{"--pod-subnets", "10.78.0.0/24", "one family"}},
		{[]string{"--no-masquerade", "10.0.0.1/8"}, []string{"--no-masquerade", "10.0.0.1/8"}},
		{[]string{"--bridge", "a/b", "--pod-subnets", "foo", "--no-masquerade", "10.0.0.1/8"}, []string{`"a/b"`, `"foo"`, "10.0.0.1/8"}},
		{[]string{"--cni-timeout", "90"}, []string{"--cni-timeout", `"90"`}},
		{[]string{"--cni-conf-dir", "x"}, []string{"--cni-conf-dir", `"x"`}},
		{[]string{"--cni-bin-dirs", "/x,y"}, []string{"--cni-bin-dirs", `"y"`}},
		{[]string{"--cni-bin-dirs", ""}, []string{"--cni-bin-dirs"}},
		{[]string{"--stream-address", "nonsense"}, []string{"--stream-address", `"nonsense"`, "host:port"}},
		{[]string{"--stream-address", "127.0.0.1:70000"}, []string{"--stream-address", "70000"}},
		{[]string{"--stream-tls-cert", "/none.pem"}, []string{"--stream-tls-key"}},
		{[]string{"--stream-tls-cert", "/none.pem", "--stream-tls-key", "/none.key"}, []string{"/none.pem"}},
		// All that is wrong is told at once.
		{[]string{"--pod-subnets", "foo", "--pull-window", "soon", "--stream-tls-key", "/x"}, []string{"--pod-subnets", "--pull-window", "--stream-tls-key"}},
	} {
		dir := t.TempDir()
		args := []string{
			"serve", "--listen", "unix://" + dir + "/run/podlet.sock", "--root", dir + "/root", "--state", dir + "/state", "--cni-conf-dir", dir + "/cni",
			"--bridge", "podletflags", "--pod-subnets", "10.77.0.0/24",
		}
		_, problems, status := podletEnds(t, nil, append(args, c.args...)...)
		for _, want := range c.says {
			if status != 1 || !contains(problems, want) {
				t.Errorf("%q: status %d, %q lacks %q", c.args, status, problems, want)
			}
		}
		isEmpty(t, dir)
	}
}

// TestNoImages: what brings no image makes no store. Without a root that is an error that names the flag; a root without images is one that has none.
func TestNoImages(t *testing.T) {
	export := filepath.Join(t.TempDir(), "x.tar")
	commands := [][]string{
		{"list"}, {"list", "-o", "json"}, {"inspect", "busybox"}, {"export", export, "busybox"}, {"export", "-", "busybox"}, {"check"}, {"check", "--deep", "--repair"},
		{"remove", "busybox"}, {"prune"},
	}
	dir := t.TempDir()
	image := func(root string, args ...string) (string, string, int) {
		return podletEnds(t, nil, append([]string{"image", "--root", root, "--state", dir + "/state"}, args...)...)
	}
	for _, args := range commands {
		if out, problems, status := image(dir+"/typo", args...); status != 1 || out != "" || !contains(problems, "there are no images in "+dir+"/typo (--root)") {
			t.Errorf("%q without a root: status %d, %q, %q", args, status, out, problems)
		}
	}
	isEmpty(t, dir)
	for _, had := range []string{"", "images"} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, had), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, args := range commands {
			out, problems, status := image(root, args...)
			want, says := 0, ""
			switch args[0] {
			case "inspect", "export", "remove":
				want, says = 1, "image busybox: image not found"
			}
			if status != want || !contains(problems, says) || says == "" && problems != "" {
				t.Errorf("%q with nothing in the root but %q: status %d, %q, %q", args, had, status, out, problems)
			}
			if table := "IMAGE   ID   SIZE   IMPORTED   USE\n"; args[0] == "list" && out != table && out != "[]\n" {
				t.Errorf("%q: %q", args, out)
			}
		}
		isEmpty(t, filepath.Join(root, had))
	}
	isEmpty(t, dir)
	isEmpty(t, filepath.Dir(export))
}

// TestNoNetwork: a state directory that isn't there is an error of the list; to remove what isn't there is success, and said.
func TestNoNetwork(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"list", "--state", dir + "/typo"}, 1, "no podlet has its state in " + dir + "/typo (--state)"},
		{[]string{"list", "-o", "json", "--state", dir + "/typo"}, 1, dir + "/typo (--state)"},
		{[]string{"list", "--state", dir}, 0, ""},
		{[]string{"list", "--state", "typo"}, 1, `--state "typo": want an absolute path`},
		{[]string{"remove", "--state", dir + "/typo"}, 0, "there is no pod network in " + dir + "/typo/network"},
		{[]string{"remove", "--state", dir}, 0, "there is no pod network in " + dir + "/network"},
		{[]string{"remove", "--state", "typo"}, 1, `--state "typo": want an absolute path`},
	} {
		out, problems, status := podletEnds(t, nil, append([]string{"network"}, c.args...)...)
		if status != c.status || !contains(problems, c.says) || c.says == "" && (problems != "" || !strings.HasPrefix(out, "POD ")) || c.says != "" && out != "" {
			t.Errorf("%q: status %d, %q, %q", c.args, status, out, problems)
		}
	}
	isEmpty(t, dir)
}
