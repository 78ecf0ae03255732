package registry

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// fromEnvironment gives the rig the proxies that the environment names.
func (r *rig) fromEnvironment() {
	p := New(Config{})
	p.Close()
	r.proxy = p.proxy
}

// TestProxy: a registry is asked through the proxy of the environment, which needs no DNS of this machine's; not so this machine and what NO_PROXY names.
func TestProxy(t *testing.T) {
	proxy, own := newLoopback(t, false), newLoopback(t, false)
	proxy.push(t, "app:v1", newImage(t, "x"))
	ref, _, _ := own.push(t, "app:v1", newImage(t, "x"))
	t.Setenv("HTTP_PROXY", "http://me:MARKER-proxy@"+proxy.address)
	r := newRig(t)
	r.fromEnvironment()
	r.hosts(t, "h.test", "server = \"http://h.test\"\n")
	_, err := r.Pull(background, "h.test/app:v1", Credentials{Username: user, Password: password})
	must(t, err)
	if n := proxy.requests("/v2/app/"); n != 5 {
		t.Errorf("%d requests through the proxy, want 5", n)
	}
	for _, q := range proxy.seen {
		if q.Host != "h.test" || q.Header.Get("Proxy-Authorization") == "" {
			t.Errorf("the proxy was asked for %s with %v", q.Host, q.Header)
		}
	}
	_, err = r.Pull(background, ref, Credentials{})
	must(t, err)
	if n := proxy.requests(""); n != 5 {
		t.Errorf("this machine was asked through the proxy: %d requests", n)
	}
	if seen := own.everything(); strings.Contains(seen, "Proxy") {
		t.Errorf("the registry saw\n%s", seen)
	}

	// The proxy refuses, is away, and is not to be used.
	proxy.set(func(w http.ResponseWriter, _ *http.Request) bool { problem(w, 407, "X", "who are you"); return true })
	_, err = r.Pull(background, "h.test/app:v1", Credentials{})
	if err == nil {
		t.Error("pulled through a proxy that refuses")
	}
	noMarker(t, r, err)
	t.Setenv("HTTP_PROXY", "http://me:MARKER-proxy@127.0.0.1:1")
	r.fromEnvironment()
	_, err = r.Pull(background, "h.test/app:v1", Credentials{})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("without a proxy: %v", err)
	}
	noMarker(t, r, err)
	t.Setenv("NO_PROXY", "h.test")
	r.fromEnvironment()
	if _, err = r.Pull(background, "h.test/app:v1", Credentials{}); err == nil || strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("in spite of NO_PROXY: %v", err)
	}
}

// TestProxyOfHostsFile: what a hosts.toml names is for its host alone, and wins over the environment.
func TestProxyOfHostsFile(t *testing.T) {
	proxy, other, own := newLoopback(t, false), newLoopback(t, false), newLoopback(t, false)
	proxy.push(t, "app:v1", newImage(t, "x"))
	own.push(t, "app:v2", newImage(t, "y"))
	t.Setenv("HTTP_PROXY", other.URL)
	t.Setenv("NO_PROXY", "mirror.test")
	r := newRig(t)
	r.fromEnvironment()
	r.hosts(t, "h.test", fmt.Sprintf("server = %q\n[host.\"http://mirror.test\"]\nproxy = \"http://me:MARKER-proxy@%s/\"\n", own.URL, proxy.address))
	_, err := r.Pull(background, "h.test/app:v1", Credentials{})
	must(t, err)
	_, err = r.Pull(background, "h.test/app:v2", Credentials{})
	must(t, err)
	if n, m := proxy.requests("/v1"), own.requests("/v1"); n != 1 || m != 0 || other.requests("") != 0 {
		t.Errorf("%d requests through the proxy, %d without, others:\n%s", n, m, other.everything())
	}
	if n := own.requests("/v2/app/"); n != 5 {
		t.Errorf("%d requests at the registry itself, want 5", n)
	}
	e, err := r.Explain("h.test/app:v1", Credentials{})
	must(t, err)
	if e.Hosts[0].Proxy != proxy.URL || e.Hosts[1].Proxy != "" {
		t.Errorf("explained: %+v", e.Hosts)
	}
	proxy.set(func(w http.ResponseWriter, _ *http.Request) bool { problem(w, 403, "MARKER-proxy", "no"); return true })
	_, err = r.Pull(background, "h.test/app:v3", Credentials{})
	if err == nil {
		t.Error("pulled")
	}
	noMarker(t, r, err)
}

// TestProxyTunnel: TLS goes through the proxy to the registry itself, so that the proxy sees nothing of it.
func TestProxyTunnel(t *testing.T) {
	l := newLoopback(t, true)
	l.push(t, "app:v1", newImage(t, "x"))
	l.set(wantBasic)
	// A connection that no request waits for any more may still come to the proxy when the pull has ended.
	var mu sync.Mutex
	var asked []string
	proxy := listenAt(t, "127.0.0.1", func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		asked = append(asked, fmt.Sprint(q.Method, " ", q.Host, " ", q.Header.Get("Authorization")))
		mu.Unlock()
		out, err := net.Dial("tcp", l.address)
		if err != nil {
			panic(err)
		}
		defer out.Close()
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		// Wrapped, or the pipes that Go keeps for splice(2) would look as if they were left behind.
		go io.Copy(struct{ io.Writer }{out}, conn)
		io.Copy(struct{ io.Writer }{conn}, out)
	})
	t.Setenv("HTTPS_PROXY", proxy)
	r := newRig(t)
	r.fromEnvironment()
	// The test server's certificate is for example.com.
	dir := filepath.Dir(r.hosts(t, "example.com", "ca = \"ca.pem\"\n"))
	must(t, os.WriteFile(filepath.Join(dir, "ca.pem"), pemOf(l.Certificate().Raw), 0o644))
	_, err := r.Pull(background, "example.com/app:v1", Credentials{Username: user, Password: password})
	must(t, err)
	mu.Lock()
	defer mu.Unlock()
	for _, line := range asked {
		if line != "CONNECT example.com:443 " {
			t.Errorf("the proxy was asked: %s", line)
		}
	}
	if len(asked) == 0 {
		t.Error("the proxy was not asked")
	}
}
