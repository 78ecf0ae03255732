package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func describe(hosts []*Host) string {
	var all []string
	for _, h := range hosts {
		s := h.URL.String()
		for name, on := range map[string]bool{"mirror": h.Mirror} {
			if on {
				s += " " + name
			}
		}
		if h.Pull {
			s += " pull"
		}
		if h.Resolve {
			s += " resolve"
		}
		if h.TLS != nil && h.TLS.InsecureSkipVerify {
			s += " unverified"
		}
		for k, v := range h.Header {
			s += fmt.Sprintf(" %s=%s", k, strings.Join(v, "+"))
		}
		if h.DialTimeout != 0 {
			s += " " + h.DialTimeout.String()
		}
		all = append(all, s)
	}
	return strings.Join(all, "\n")
}

func TestHosts(t *testing.T) {
	for _, c := range []struct {
		name, registry, dir, text, want string
	}{
		{"nothing", "h.test:5000", "other", ``, `https://h.test:5000/v2 pull resolve`},
		{"Docker Hub", "docker.io", "other", ``, `https://registry-1.docker.io/v2 pull resolve`},
		{"this machine", "localhost:5000", "other", ``, `http://localhost:5000/v2 pull resolve`},
		{"empty", "docker.io", "docker.io", ``, `https://registry-1.docker.io/v2 pull resolve`},
		{"server", "docker.io", "docker.io", `server = "https://docker.io"`, `https://registry-1.docker.io/v2 pull resolve`},
		{"order is the file's", "docker.io", "docker.io", `
			server = "https://up.test"
			[host."https://z.test"]
			  capabilities = ["pull"]
			[host."https://a.test/v2"]
			  capabilities = ["pull", "resolve", "push"]
			  [host."https://a.test/v2".header]
			    x-one = "1"
			[host."m.test:80"]
			  skip_verify = true
			  dial_timeout = "3s"
			[host."https://b.test/prefix"]
			[host."https://c.test/v2/docker.io"]
			  override_path = true
			  header = { x-two = ["a", "b"] }
			[host."http://d.test"]
			  override_path = true`,
			`https://z.test/v2 mirror pull
https://a.test/v2 mirror pull resolve X-One=1
https://m.test:80/v2 mirror pull resolve unverified 3s
https://b.test/prefix/v2 mirror pull resolve
https://c.test/v2/docker.io mirror pull resolve X-Two=a+b
http://d.test mirror pull resolve
https://up.test/v2 mirror pull resolve`},
		{"dotted keys", "h.test", "h.test", `
			host."https://z.test".capabilities = ["pull"]
			host."https://a.test".capabilities = ["resolve"]`,
			"https://z.test/v2 mirror pull\nhttps://a.test/v2 mirror resolve\nhttps://h.test/v2 pull resolve"},
		{"the server's own keys", "h.test", "h.test", "skip_verify = true\ncapabilities = [\"pull\"]", `https://h.test/v2 pull unverified`},
		{"default", "h.test", "_default", "[host.\"http://m.test:5000\"]", "http://m.test:5000/v2 mirror pull resolve\nhttps://h.test/v2 pull resolve"},
		{"port with underscores", "h.test:5000", "h.test_5000_", `[host."http://m.test"]`, "http://m.test/v2 mirror pull resolve\nhttps://h.test:5000/v2 pull resolve"},
		{"address of IPv6 with underscores", "[fd00::1]:5000", "[fd00::1]_5000_", `[host."http://m.test"]`, "http://m.test/v2 mirror pull resolve\nhttps://[fd00::1]:5000/v2 pull resolve"},
		{"address of IPv6", "[fd00::1]", "[fd00::1]", `[host."http://m.test"]`, "http://m.test/v2 mirror pull resolve\nhttps://[fd00::1]/v2 pull resolve"},
		{"port with a colon", "h.test:5000", "h.test:5000", `[host."http://m.test"]`, "http://m.test/v2 mirror pull resolve\nhttps://h.test:5000/v2 pull resolve"},
	} {
		t.Run(c.name, func(t *testing.T) {
			certs := t.TempDir()
			must(t, os.MkdirAll(filepath.Join(certs, c.dir), 0o755))
			must(t, os.WriteFile(filepath.Join(certs, c.dir, "hosts.toml"), []byte(c.text), 0o644))
			found, err := hostsOf(c.registry, []string{filepath.Join(certs, "absent"), certs})
			must(t, err)
			if got := describe(found.hosts); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// TestFirstDirectoryCounts: of the directories the first that is there counts, also for a registry that it has nothing for.
func TestFirstDirectoryCounts(t *testing.T) {
	top := t.TempDir()
	dirs := []string{filepath.Join(top, "podlet"), filepath.Join(top, "containerd")}
	write := func(dir, text string) {
		t.Helper()
		must(t, os.MkdirAll(filepath.Join(dir, "h.test"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "h.test/hosts.toml"), []byte(text), 0o644))
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "https://h.test/v2 pull resolve"},
		{func() { write(dirs[1], `server = "https://two.test"`) }, "https://two.test/v2 mirror pull resolve"},
		{func() { must(t, os.Mkdir(dirs[0], 0o755)) }, "https://h.test/v2 pull resolve"},
		{func() { write(dirs[0], `server = "https://one.test"`) }, "https://one.test/v2 mirror pull resolve"},
		{func() { must(t, os.RemoveAll(dirs[0])) }, "https://two.test/v2 mirror pull resolve"},
	} {
		step.do()
		found, err := hostsOf("h.test", dirs)
		must(t, err)
		if got := describe(found.hosts); got != step.want {
			t.Errorf("got %s, want %s", got, step.want)
		}
	}
	if want := []string{"/etc/podlet/certs.d", "/etc/containerd/certs.d"}; !slices.Equal(DefaultCertsDirs, want) {
		t.Errorf("by default %v, want %v", DefaultCertsDirs, want)
	}
}

func TestWrongHosts(t *testing.T) {
	for _, c := range []struct{ text, line, says string }{
		{"server = 5", ":1:", "server"},
		{"\n[host.\"https://m.test\"]\n  capabilities = \"pull\"", ":3:", "capabilities"},
		{"\n\n[host.\"https://m.test\"]\n  capabilities = [\"fly\"]", ":3:", `"fly"`},
		{"\n[host.\"ftp://m.test\"]", ":2:", "http"},
		{"[host.\"https://u:p@m.test\"]", ":1:", "imagePullSecrets"},
		{"# x\nserver = \"https://\"", ":2:", "server"},
		{"[host.\"https://m.test\"]\nca = \"none.pem\"", ":1:", "none.pem"},
		{"[host.\"https://m.test\"]\nca = \"fifo\"", ":1:", "not a regular file"},
		{"[host.\"https://m.test\"]\nca = \"junk.pem\"", ":1:", "no PEM certificate"},
		{"[host.\"https://m.test\"]\nclient = [[\"junk.pem\", \"junk.pem\"]]", ":1:", "junk.pem"},
		{"[host.\"https://m.test\"]\nclient = [1]", ":1:", "client"},
		{"[host.\"https://m.test\"]\nca = 7", ":1:", "ca"},
		{"[host.\"https://m.test\"]\ndial_timeout = \"soon\"", ":1:", "dial_timeout"},
		{"[host.\"https://m.test\".header]\n\"a b\" = \"x\"", ":1:", "header"},
		{"[host.\"https://m.test\".header]\na = \"x\\ny\"", ":1:", "header"},
		{"[host.\"https://m.test\"]\nproxy = \"p.test:3128\"", ":1:", "proxy"},
		{"[host.\"https://m.test\"]\nproxy = \"http://me:MARKER@\"", ":1:", "proxy"},
		{"[host.\"https://m.test\"]\nproxy = \"ftp://me:MARKER@p.test\"", ":1:", "proxy"},
		{"[host.\"https://m.test\"]\nproxy = \"http://me:MARKER@p.test/path\"", ":1:", "proxy"},
		{"[host.\"https://m.test\"]\nproxy = \"http://me:MARKER@p.test:x\"", ":1:", "proxy"},
		{"proxy = \"http://p.test?\"", ":1:", "proxy"},
		{"[host", ":1:", ""},
		{"a = 1\na = 2", ":2:", ""},
		{"\x00", ":1:", ""},
	} {
		r := newRig(t)
		file := r.hosts(t, "bad.test", c.text)
		must(t, os.WriteFile(filepath.Join(filepath.Dir(file), "junk.pem"), []byte("junk"), 0o644))
		must(t, unix.Mkfifo(filepath.Join(filepath.Dir(file), "fifo"), 0o644))
		_, err := r.Pull(background, "bad.test/app", Credentials{})
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), file+c.line) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "MARKER") {
			t.Errorf("%q: %v; want %s%s … %s", c.text, err, file, c.line, c.says)
		}
	}
}

func TestSickHostsFileHurtsItsHostAlone(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	file := r.hosts(t, "bad.test", "server = ")
	_, err := r.Pull(background, "bad.test/app", Credentials{})
	if !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	_, err = r.Pull(background, ref, Credentials{})
	must(t, err)
	// It is read anew at each pull.
	must(t, os.WriteFile(file, fmt.Appendf(nil, "server = %q", l.URL), 0o644))
	_, err = r.Pull(background, "bad.test/app:v1", Credentials{})
	must(t, err)
}

func TestUnknownKeysAreIgnoredAloud(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	l.push(t, "app:v1", newImage(t, "x"))
	file := r.hosts(t, "h.test", fmt.Sprintf("server = %q\n[host.%q]\nsmell = \"roses\"\n", l.URL, l.URL))
	_, err := r.Pull(background, "h.test/app:v1", Credentials{})
	must(t, err)
	if !strings.Contains(r.logs.String(), file+":3") || !strings.Contains(r.logs.String(), "smell") {
		t.Errorf("log:\n%s", r.logs)
	}
}

func TestMirrors(t *testing.T) {
	up, mirror, r := newLoopback(t, false), newLoopback(t, false), newRig(t)
	i := newImage(t, "x")
	up.push(t, "team/app:v1", i)
	mirror.push(t, "cache/h/team/app:v1", i)
	r.hosts(t, "h.test", fmt.Sprintf(`
		server = %q
		[host."http://127.0.0.1:1"]
		[host."%s/v2/cache/h"]
		  override_path = true
		  [host."%s/v2/cache/h".header]
		    X-Mirror = "MARKER-header"`, up.URL, mirror.URL, mirror.URL))
	_, err := r.Pull(background, "h.test/team/app:v1", Credentials{})
	must(t, err)
	if n := up.requests(""); n != 0 {
		t.Errorf("the registry was asked %d times, though its mirror has it all:\n%s", n, up.everything())
	}
	if seen := mirror.everything(); strings.Count(seen, "?ns=h.test\n") != 5 || strings.Count(seen, "X-Mirror: MARKER-header") != 5 {
		t.Errorf("the mirror saw\n%s", seen)
	}

	// What the mirror hasn't, the registry has; its header isn't for the registry.
	up.push(t, "team/app:v2", newImage(t, "y"))
	_, err = r.Pull(background, "h.test/team/app:v2", Credentials{})
	must(t, err)
	if seen := up.everything(); strings.Contains(seen, "X-Mirror") {
		t.Errorf("the registry saw\n%s", seen)
	}
	// Nobody has it: all are named, and the registry's word decides.
	mirror.before = func(w http.ResponseWriter, _ *http.Request) bool {
		problem(w, 500, "UNKNOWN", "MARKER-header")
		return true
	}
	_, err = r.Pull(background, "h.test/team/app:v3", Credentials{})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), mirror.address) || !strings.Contains(err.Error(), up.address) {
		t.Error(err)
	}
	noMarker(t, r, err)
}

func TestCapabilities(t *testing.T) {
	up, mirror, r := newLoopback(t, false), newLoopback(t, false), newRig(t)
	_, manifest, _ := up.push(t, "app:v1", newImage(t, "up"))
	mirror.push(t, "app:v1", newImage(t, "stale"))
	mirror.push(t, "app:v0", newImage(t, "up"))
	r.hosts(t, "h.test", fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = [\"pull\"]", up.URL, mirror.URL))
	img, err := r.Pull(background, "h.test/app:v1", Credentials{})
	must(t, err)
	if want := "h.test/app@" + manifest.Digest; img.Digests[0] != want {
		t.Errorf("got %v, want %v", img.Digests, want)
	}
	if up.requests("/manifests/v1") != 1 || up.requests("/blobs/") != 0 || mirror.requests("/manifests/") != 0 || mirror.requests("/blobs/") != 4 {
		t.Errorf("registry saw\n%s\nmirror saw\n%s", up.everything(), mirror.everything())
	}
	r.hosts(t, "none.test", fmt.Sprintf("server = %q\ncapabilities = [\"push\"]", up.URL))
	if _, err := r.Pull(background, "none.test/app:v1", Credentials{}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}

// TestLyingMirror: what a mirror says wrongly under a digest, the registry says rightly.
func TestLyingMirror(t *testing.T) {
	up, mirror, r := newLoopback(t, false), newLoopback(t, false), newRig(t)
	_, manifest, id := up.push(t, "app:v1", newImage(t, "x"))
	mirror.before = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<html>Welcome to the hotel's network")
		return true
	}
	r.hosts(t, "h.test", fmt.Sprintf("server = %q\n[host.%q]", up.URL, mirror.URL))
	img, err := r.Pull(background, "h.test/app@"+manifest.Digest, Credentials{})
	must(t, err)
	if img.ID.String() != id {
		t.Error(img.ID)
	}
}

func TestCertificates(t *testing.T) {
	l, r := newLoopback(t, true), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	server := "server = \"" + l.URL + "\"\n"
	file := r.hosts(t, "h.test", server)
	pull := func() error {
		_, err := r.Pull(background, "h.test/app:v1", Credentials{})
		return err
	}
	if err := pull(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(filepath.Dir(file), "ca.pem"), pemOf(l.Certificate().Raw), 0o644))
	r.hosts(t, "h.test", server+`ca = "ca.pem"`)
	must(t, pull())
	r.hosts(t, "h.test", server+`skip_verify = true`)
	must(t, pull())
	// TLS where there is none.
	plain := newLoopback(t, false)
	r.hosts(t, "h.test", fmt.Sprintf("server = \"https://%s\"", plain.address))
	if err := pull(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "http://") {
		t.Error(err)
	}
	// As Docker has it: certificates and no hosts.toml.
	dir := filepath.Join(r.certs, l.address)
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "ca.crt"), pemOf(l.Certificate().Raw), 0o644))
	_, err := r.Pull(background, ref, Credentials{})
	must(t, err)
}

// TestCVE_C8_NoDowngrade: from TLS nothing leads to plain http; and what isn't verified at the registry is verified elsewhere.
func TestCVE_C8_NoDowngrade(t *testing.T) {
	l, plain, other, r := newLoopback(t, true), newLoopback(t, false), newLoopback(t, true), newRig(t)
	l.push(t, "app:v1", newImage(t, "x"))
	plain.push(t, "app:v1", newImage(t, "x"))
	other.push(t, "app:v1", newImage(t, "x"))
	r.hosts(t, "h.test", fmt.Sprintf("server = %q\nskip_verify = true", l.URL))
	elsewhere := "https://localhost:" + portOf(other.URL)
	for name, before := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"plain realm":                    tokenServer(l, plain.URL+"/token"),
		"plain redirect":                 redirect(plain.URL),
		"unverified elsewhere, realm":    tokenServer(l, elsewhere+"/token"),
		"unverified elsewhere, redirect": redirect(elsewhere),
	} {
		l.set(before)
		if _, err := r.Pull(background, "h.test/app:v1", Credentials{Username: user, Password: password}); err == nil {
			t.Errorf("%s: pulled", name)
		}
	}
	if seen := plain.everything() + other.everything(); seen != "" {
		t.Errorf("asked:\n%s", seen)
	}
	// The same name at another port is the same server's.
	l.set(redirect(other.URL))
	_, err := r.Pull(background, "h.test/app:v1", Credentials{})
	must(t, err)
}

func redirect(to string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	}
}

func TestDialTimeoutReaches(t *testing.T) {
	h := &Host{URL: defaultURL("h.test"), DialTimeout: 3 * time.Second}
	g := newGate(h, &secrets{}, classOf, nil)
	if got := g.transport(transportKey{}).TLSHandshakeTimeout; got != h.DialTimeout {
		t.Error(got)
	}
}
