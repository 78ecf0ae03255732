package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"podlet/hack/testimages/testimage"
)

// pullCommandRun is one "podlet image pull", as a person types it.
func (n *node) pullCommandRun(stdin string, env []string, args ...string) (out, errs string, err error) {
	cmd := exec.Command("/proc/self/exe", append([]string{"image", "pull", "--root", n.dir + "/root", "--state", n.dir + "/state"}, args...)...)
	cmd.Env = append(append(os.Environ(), asPodlet+"=1"), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// TestPullCommand pulls with each kind of credentials, by the podlet that serves and by the command alone.
func TestPullCommand(t *testing.T) {
	n, certs := pullNode(t)
	r := newRegistry(t, token)
	image := pullable(t, testimage.Gzip, "text")
	id, digest := r.push(t, "team/app:v1", image)
	ref := r.address + "/team/app:v1"
	file := filepath.Join(n.dir, "auth.json")
	auths := fmt.Sprintf(`{"auths": {%q: {"username": %q, "password": %q}}}`, r.address, registryUser, registryPassword)
	if err := os.WriteFile(file, []byte(auths), 0o600); err != nil {
		t.Fatal(err)
	}
	pulls := func(stdin string, env []string, args ...string) {
		t.Helper()
		out, errs, err := n.pullCommandRun(stdin, env, append(args, ref)...)
		if err != nil || out != id+"  "+ref+"\n" {
			t.Errorf("%v: %q, %v\n%s", args, out, err, errs)
		}
		if lines := strings.Count(errs, "sha256:"); lines != len(image.Layers) && !slices.Contains(args, "-q") || lines > 0 && slices.Contains(args, "-q") {
			t.Errorf("%v: told of %d layers, there are %d:\n%s", args, lines, len(image.Layers), errs)
		}
		if contains(out+errs, "MARKER") {
			t.Errorf("%v: a secret shows:\n%s%s", args, out, errs)
		}
	}
	all := func() {
		t.Helper()
		pulls("", nil, "--auth-file", file)
		pulls("", []string{authFileEnv + "=" + file})
		pulls(registryPassword+"\n", nil, "-q", "--username", registryUser, "--password-stdin")
		for _, wrong := range []struct {
			stdin string
			args  []string
			says  string
		}{
			{"", []string{ref}, "401"},
			{"MARKER-wrong", []string{"--username", registryUser, "--password-stdin", ref}, "401"},
			{"", []string{"--username", registryUser, "--password-stdin", ref}, "no password"},
			{"", []string{"--username", registryUser, ref}, "password-stdin"},
			{"", []string{"--auth-file", "/nowhere", ref}, "/nowhere"},
			{"", []string{"--auth-file", file, r.address + "/team/app:v2"}, "404"},
			{"", []string{"-o", "xml", ref}, "xml"},
			{"", []string{"NO"}, "NO"},
		} {
			out, errs, err := n.pullCommandRun(wrong.stdin, nil, wrong.args...)
			if err == nil || out != "" || !contains(errs, wrong.says) || contains(errs, "MARKER") {
				t.Errorf("%v: %q, %v\n%s", wrong.args, out, err, errs)
			}
		}
		out, _, err := n.pullCommandRun("", nil, "--auth-file", file, "-o", "json", r.address+"/team/app@"+digest)
		var got struct {
			ID      string
			Digests []string
		}
		if json.Unmarshal([]byte(out), &got) != nil || err != nil || got.ID != id || !slices.Equal(got.Digests, []string{r.address + "/team/app@" + digest}) {
			t.Errorf("-o json: %s, %v", out, err)
		}
	}
	all()
	n.hasOnly(n.imageStatus(ref), ref)
	n.runs(ref, "text")
	if contains(n.log(), "MARKER") {
		t.Error("podlet's log has a secret")
	}

	// The podlet that serves says what it would do, with the directories of its own.
	dir := filepath.Join(certs, r.address)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(dir, "hosts.toml")
	if err := os.WriteFile(hosts, []byte("[host.\"https://mirror.test\"]\nskip_verify = true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.requests = nil
	r.mu.Unlock()
	out, errs, err := n.pullCommandRun("", nil, "--explain", "--auth-file", file, ref)
	if err != nil || contains(out, "MARKER") {
		t.Errorf("--explain: %v\n%s%s", err, out, errs)
	}
	lines := strings.Split(out, "\n")
	for line, words := range map[int][]string{
		0: {ref}, 1: {hosts}, 2: {file, r.address}, 3: {"the podlet that serves"},
		6: {"1", "https://mirror.test/v2", "tag", "NOT VERIFIED", "none", hosts + ":1"},
		7: {"2", r.URL + "/v2", "tag", "none", "user and password of " + registryUser, hosts},
	} {
		for _, w := range words {
			if !contains(lines[min(line, len(lines)-1)], w) {
				t.Errorf("--explain: line %d has no %q:\n%s", line, w, out)
			}
		}
	}
	if r.asked("/") {
		t.Error("to explain, the registry was asked")
	}

	n.terminate()
	out, _, err = n.pullCommandRun("", nil, "--explain", "-o", "json", "--certs-dirs", certs, ref)
	var e struct {
		Name, By string
		Hosts    []struct{ URL string }
	}
	if json.Unmarshal([]byte(out), &e) != nil || err != nil || e.Name != ref || len(e.Hosts) != 2 || e.Hosts[1].URL != r.URL+"/v2" || !contains(e.By, "no podlet serves") {
		t.Errorf("--explain -o json, alone: %s, %v", out, err)
	}
	all()
	n.start()
	n.runs(ref, "text")
}
