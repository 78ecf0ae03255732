package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"podlet/internal/image"
)

// explained is an explanation with a line for each host.
func explained(e Explanation) string {
	var all []string
	for _, h := range e.Hosts {
		asked := map[[2]bool]string{{true, true}: "all", {true, false}: "tag", {false, true}: "blobs", {false, false}: "nothing"}[[2]bool{h.AskedForTag, h.AskedForBlobs}]
		tls := "plain"
		if h.TLS.Used {
			tls = "TLS"
			if !h.TLS.Verified {
				tls += " unverified"
			}
			for _, file := range slices.Concat(h.TLS.CA, h.TLS.ClientCertificates) {
				tls += " " + filepath.Base(file)
			}
		}
		line := []string{h.URL, asked, h.Namespace, tls, strings.Join(h.Headers, "+"), h.Proxy, h.DialTimeout, strings.TrimSpace(h.Credentials.Kind + " " + h.Credentials.User), h.Why}
		all = append(all, strings.Join(line, "|"))
	}
	return strings.Join(all, "\n")
}

func TestExplain(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://me:MARKER-proxy@proxy.test:3128")
	t.Setenv("NO_PROXY", "inside.test")
	p := New(Config{CertsDirs: []string{filepath.Join(t.TempDir(), "absent"), t.TempDir()}})
	defer p.Close()
	dir := filepath.Join(p.CertsDirs[1], "docker.io")
	file := filepath.Join(dir, "hosts.toml")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(file, []byte(`
[host."https://inside.test:5000"]
  capabilities = ["pull"]
  skip_verify = true
  smell = "roses"
[host."http://plain.test/cache"]
  dial_timeout = "3s"
  header = { X-Team = "MARKER-header" }
`), 0o644))
	give := Credentials{Username: user, Password: password}
	e, err := p.Explain("busybox", give)
	must(t, err)
	want := "https://inside.test:5000/v2|blobs|docker.io|TLS unverified||||user and password robot|" + file + ":2\n" +
		"http://plain.test/cache/v2|all|docker.io|plain|X-Team||3s|user and password robot|" + file + ":6\n" +
		"https://registry-1.docker.io/v2|all||TLS||http://proxy.test:3128||user and password robot|" + file
	if got := explained(e); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if e.Name != "docker.io/library/busybox:latest" || e.Registry != "docker.io" || e.Repository != "library/busybox" || e.Tag != "latest" || e.Digest != "" || e.From != file {
		t.Errorf("%+v", e)
	}
	if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], file+":5") || !strings.Contains(e.Warnings[0], "smell") {
		t.Errorf("warnings: %v", e.Warnings)
	}
	whole, err := json.Marshal(e)
	must(t, err)
	if strings.Contains(string(whole), "MARKER") {
		t.Errorf("a secret shows: %s", whole)
	}

	// By digest, no tag is asked for; and credentials for the registry are for no mirror.
	give, err = give.OnlyFor("busybox")
	must(t, err)
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	e, err = p.Explain("busybox:1@"+digest, give)
	must(t, err)
	if e.Tag != "" || e.Digest != digest || slices.ContainsFunc(e.Hosts, func(h ExplainedHost) bool { return h.AskedForTag }) {
		t.Errorf("%+v", e)
	}
	if c := e.Hosts[0].Credentials; c.Kind != "none" || c.Why != "those given are for docker.io" {
		t.Errorf("the mirror: %+v", c)
	}
	if c := e.Hosts[2].Credentials; c.Kind != "user and password" || c.Why != "they are for this server" {
		t.Errorf("the registry: %+v", c)
	}

	e, err = p.Explain("other.test/app", Credentials{})
	must(t, err)
	if explained(e) != "https://other.test/v2|all||TLS||http://proxy.test:3128||none|the registry itself" || e.From != "nothing is configured for it in "+p.CertsDirs[1] {
		t.Errorf("%+v", e)
	}
	must(t, os.WriteFile(file, []byte("server = 5"), 0o644))
	if _, err = p.Explain("busybox", Credentials{}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), file+":1") {
		t.Error(err)
	}
	if _, err = p.Explain("NO", Credentials{}); !errors.Is(err, image.ErrInvalid) {
		t.Error(err)
	}
	if _, err = p.Explain("other.test/app", Credentials{Auth: "%%%"}); !errors.Is(err, ErrUnauthenticated) {
		t.Error(err)
	}
}

// TestExplainedIsDone: a pull asks those who were explained, in that order, and shows them what was said.
func TestExplainedIsDone(t *testing.T) {
	r := newRig(t)
	var mu sync.Mutex
	var done []string
	servers := map[string]*loopback{}
	for _, name := range []string{"one", "two", "three", "registry"} {
		l := newLoopback(t, false)
		servers[l.URL+"/v2"] = l
		if name == "registry" {
			l.push(t, "app:v1", newImage(t, "x"))
		}
		r.hosts(t, name, "")
		l.set(func(w http.ResponseWriter, q *http.Request) bool {
			u, _, given := q.BasicAuth()
			if !given {
				// None of them is asked anything without this question.
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(401)
				return true
			}
			mu.Lock()
			defer mu.Unlock()
			line := fmt.Sprintf("%s/v2 as %s, ns=%s", l.URL, u, q.URL.Query().Get("ns"))
			if kind := "tag"; strings.Contains(q.URL.Path, "/manifests/v1") && !slices.Contains(done, line+" "+kind) {
				done = append(done, line+" "+kind)
			}
			return false
		})
		servers[name] = l
	}
	r.hosts(t, "h.test", fmt.Sprintf("server = %q\n[host.%q]\n[host.%q]\ncapabilities = [\"pull\"]\n[host.%q]\n", servers["registry"].URL, servers["one"].URL, servers["two"].URL, servers["three"].URL))
	give := Credentials{Username: user, Password: password}
	e, err := r.Explain("h.test/app:v1", give)
	must(t, err)
	var want []string
	for _, h := range e.Hosts {
		if h.AskedForTag {
			want = append(want, fmt.Sprintf("%s as %s, ns=%s tag", h.URL, h.Credentials.User, h.Namespace))
		}
	}
	for _, l := range servers {
		if l.requests("") != 0 {
			t.Error("to explain, somebody was asked")
		}
	}
	_, err = r.Pull(background, "h.test/app:v1", give)
	must(t, err)
	if !slices.Equal(done, want) || len(want) != 3 {
		t.Errorf("done\n%s\nexplained\n%s", strings.Join(done, "\n"), strings.Join(want, "\n"))
	}
}
