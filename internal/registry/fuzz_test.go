package registry

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"

	"podlet/internal/image"
)

// FuzzHosts: whatever a hosts.toml holds, it is refused with the file's name, or gives hosts that can be asked.
func FuzzHosts(f *testing.F) {
	for _, text := range []string{
		"", "server = \"https://h.test\"\n", "[host.\"http://m.test:5000\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
		"[host.\"m.test\"]\nskip_verify = true\ndial_timeout = \"3s\"\nheader = { x-two = [\"a\", \"b\"] }\n",
		"[host.\"https://m.test/v2/x\"]\noverride_path = true\nca = [\"a.pem\", \"b.pem\"]\nclient = [[\"c.pem\", \"k.pem\"], [\"both.pem\", \"\"]]\n",
		"host.\"https://a.test\".capabilities = [\"push\"]\nserver = 5\n", "host = { \"https://a.test\" = { header = { a = \"x\\ny\" } } }\n",
		"[[host]]\n", "[host", "a = 1\na = 2", "\x00", "[host.\"\"]\n", "[host.\"https://u:p@m.test\"]\n", "[host.\"https://[::1]:5000\".header]\n\"a b\" = 1\n",
	} {
		f.Add([]byte(text), "h.test:5000")
	}
	f.Add([]byte("server = \"docker.io\"\n"), "docker.io")
	f.Fuzz(func(t *testing.T, data []byte, registry string) {
		const file = "/nowhere/hosts.toml"
		hosts, warnings, err := parseHosts(data, file, registry)
		if err != nil {
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), file) {
				t.Errorf("error %v", err)
			}
			return
		}
		if len(hosts) == 0 {
			t.Error("no host, and no error")
		}
		for _, w := range warnings {
			if !strings.HasPrefix(w, file+":") {
				t.Errorf("warning %q", w)
			}
		}
		for _, h := range hosts {
			if h.URL.Scheme != "http" && h.URL.Scheme != "https" || h.URL.Host == "" || h.URL.User != nil || h.URL.RawQuery != "" || (h.TLS != nil) != (h.URL.Scheme == "https") {
				t.Errorf("host %s, TLS %t", h.URL, h.TLS != nil)
			}
			for key, values := range h.Header {
				if !httpguts.ValidHeaderFieldName(key) || slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
					t.Errorf("header %q: %q", key, values)
				}
			}
		}
	})
}

// answering is a RoundTripper of a func.
type answering func(way, *http.Request) *http.Response

// stub makes a client whose requests f answers.
func stub(u string, c Credentials, f answering) (*client, *secrets) {
	home, err := url.Parse(u)
	if err != nil {
		panic(err)
	}
	h := &Host{URL: home, Pull: true, Resolve: true}
	hidden := &secrets{}
	hidden.add(c.secrets()...)
	g := newGate(h, hidden, classOf, nil)
	g.carry = func(k transportKey) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			if answer := f(k.way, q); answer != nil {
				answer.Request = q
				return answer, nil
			}
			return nil, io.ErrUnexpectedEOF
		})
	}
	credential, err := c.forHost(home.Host)
	if err != nil {
		panic(err)
	}
	made := newClient(h, g, credential, "test", hidden)
	made.last = true
	made.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	return made, hidden
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

func answerOf(status int, header http.Header, body string) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// FuzzChallenge: whatever a registry with TLS answers in WWW-Authenticate, the password goes to no server without TLS and to no address that isn't public.
func FuzzChallenge(f *testing.F) {
	for _, text := range []string{
		`Bearer realm="https://auth.test/token",service="registry",scope="repository:app:pull"`, `Basic realm="x"`, `Bearer realm="http://auth.test/token"`,
		`Bearer realm="https://127.0.0.1/token"`, `bearer REALM=https://auth.test`, `Bearer realm="https://u:p@auth.test/",realm="https://[::1]/"`, `Negotiate`, ``, `Bearer`,
		`Bearer realm="https://h.test:443/token?x=y#z"`, `Bearer realm="//10.0.0.1/"`, "Bearer realm=\"https://a.test\\\"\x00\"", `Bearer realm="https://169.254.169.254.nip.test"`,
	} {
		f.Add(text, "Basic", true)
		f.Add("Digest x=y", text, false)
	}
	f.Fuzz(func(t *testing.T, first, second string, identity bool) {
		give, echo := Credentials{Username: user, Password: password}, password
		if identity {
			give, echo = Credentials{IdentityToken: "MARKER-identity"}, "MARKER-identity"
		}
		requests := 0
		c, _ := stub("https://h.test/v2", give, func(w way, q *http.Request) *http.Response {
			if requests++; requests > 20 {
				t.Fatal("it asks again and again")
			}
			if q.URL.Scheme != "https" {
				t.Errorf("without TLS: %s", q.URL)
			}
			if a, err := netip.ParseAddr(q.URL.Hostname()); err == nil && classOf(a) != classPublic {
				t.Errorf("to a %s address: %s", classOf(a), q.URL)
			}
			switch {
			case w == wayToken:
				return answerOf(200, http.Header{}, `{"token":"MARKER-token"}`)
			case w == wayHome && q.URL.Host != "h.test":
				t.Errorf("as the registry: %s", q.URL)
			case w == wayRedirect:
				t.Errorf("nobody redirects: %s", q.URL)
			}
			return answerOf(401, http.Header{"Www-Authenticate": {first, second}}, `{"errors":[{"code":"X","message":"`+echo+`"}]}`)
		})
		_, err := c.get(background, request{repository: "app", what: "manifests/v1", accept: documentTypes})
		if err == nil || strings.Contains(err.Error(), "MARKER") || !slices.ContainsFunc(kinds, func(k error) bool { return errors.Is(err, k) }) {
			t.Errorf("error %v", err)
		}
	})
}

// FuzzAnswer: whatever bytes a server sends for a manifest and for a blob, all that comes of it is what has the digest, or an error without a secret.
func FuzzAnswer(f *testing.F) {
	const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}`
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: 80\r\n\r\n" + manifest,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-4/5\r\nContent-Length: 2\r\n\r\nlo",
		"HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\n\r\n", "HTTP/1.1 307 x\r\nLocation: https://cdn.test/?sig=MARKER-password\r\n\r\n",
		"HTTP/1.1 302 x\r\nLocation: //127.0.0.1:1/\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\n{\"errors\":[{\"code\":\"MARKER-password\",\"message\":1}]}",
		"HTTP/1.1 200 OK\r\nDocker-Content-Digest: sha256:../x\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 401 x\r\nWww-Authenticate: Bearer realm=\"https://a.test\"\r\n\r\n",
		"HTTP/0.9\r\n", "", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		f.Add([]byte(text), []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	}
	d, err := image.ParseDigest("sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824") // of "hello"
	must(f, err)
	f.Fuzz(func(t *testing.T, one, other []byte) {
		requests := 0
		c, _ := stub("https://h.test/v2", Credentials{Username: user, Password: password}, func(w way, q *http.Request) *http.Response {
			if requests++; requests > 1000 {
				t.Fatal("it asks again and again")
			}
			data := [][]byte{one, other}[requests%2]
			answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), q)
			if err != nil {
				return nil
			}
			return answer
		})
		r := &remote{registry: "h.test", repository: "app", tag: "v1", clients: []*client{c}, watch: &watch{}, progress: &progress{}, log: slog.New(slog.DiscardHandler)}
		r.mu.sent, r.mu.wrong = map[image.Digest]*client{}, map[image.Digest][]*client{}
		check := func(err error) {
			if err != nil && (strings.Contains(err.Error(), password) || !slices.ContainsFunc(kinds, func(k error) bool { return errors.Is(err, k) })) {
				t.Errorf("error %v", err)
			}
		}
		_, _, err := r.Document(background, image.Digest{}, 1<<20)
		check(err)
		data, _, err := r.Document(background, d, 1<<20)
		check(err)
		if err == nil && string(data) != "hello" {
			t.Errorf("another document: %q", data)
		}
		blob, err := r.Blob(background, d, 5)
		check(err)
		if err == nil {
			_, err = io.ReadAll(io.LimitReader(blob, 1<<20))
			check(err)
			must(t, blob.Close())
		}
	})
}

// FuzzReference: what passes for a name leads to one directory below certs.d and to one path at the registry.
func FuzzReference(f *testing.F) {
	for _, ref := range []string{
		"busybox", "h.test:5000/a/b:v1", "localhost/x", "[fd00::1]:5000/x:y", "a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "docker.io/a", "index.docker.io/library/a",
		"../x", "h.test/../x", "h.test/a%2fb", "h.test/a:b/c", "H.test/a", "https://h.test/a", "_default/a", "h.test/a__b", "", ":", "@", "a:@sha256:", "xn--x.test/a",
		"A" + strings.Repeat("\x9d", 800), "[0]:0/0", "h.e_t/as",
	} {
		f.Add(ref)
	}
	p := New(Config{CertsDirs: []string{"/nowhere"}})
	f.Cleanup(p.Close)
	f.Fuzz(func(t *testing.T, ref string) {
		name, err := image.NormalizeName(ref)
		if err != nil {
			if !errors.Is(err, image.ErrInvalid) || len(err.Error()) > 1000 {
				t.Errorf("error %v", err)
			}
			return
		}
		if again, err := image.NormalizeName(name); err != nil || again != name {
			t.Errorf("%q becomes %q, and that %q, %v", ref, name, again, err)
		}
		l, err := p.plan(name, Credentials{})
		if errors.Is(err, image.ErrInvalid) && strings.HasPrefix(name, "[") {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if (l.tag == "") == (l.digest == "") {
			t.Errorf("%q: tag %q, digest %q", name, l.tag, l.digest)
		}
		for _, dir := range directoryNames(l.registry) {
			if dir != filepath.Base(dir) || !filepath.IsLocal(dir) || dir == "." {
				t.Errorf("%q leads to the directory %q", name, dir)
			}
		}
		asked := 0
		c, _ := stub(l.hosts[0].URL.String(), Credentials{}, func(_ way, q *http.Request) *http.Response {
			asked++
			if want := "/v2/" + l.repository + "/manifests/" + l.tag + l.digest; q.URL.EscapedPath() != want || q.URL.Host != l.hosts[0].URL.Host || q.URL.RawQuery != "" {
				t.Errorf("%q leads to %s", name, q.URL)
			}
			return answerOf(404, http.Header{}, "")
		})
		if _, err := c.get(background, request{repository: l.repository, what: "manifests/" + l.tag + l.digest}); !errors.Is(err, ErrNotFound) || asked != 1 {
			t.Errorf("%q: asked %d times: %v", name, asked, err)
		}
	})
}

// FuzzAuthFile: no error tells what a file of credentials holds.
func FuzzAuthFile(f *testing.F) {
	for _, text := range []string{
		`{"auths": {"h.test": {"auth": "MARKER"}}}`, `{"auths": {"https://index.docker.io/v1/": {"identitytoken": "MARKER"}}, "credsStore": "x"}`, `{"auths": {"h.test": MARKER}}`,
		`{"auths": ["MARKER"]}`, `{}`, ``, `{"credHelpers": {"h.test/team": "x"}}`, `{"auths": {"://": {}, "/": {}, "h.test//": {"username": "MARKER"}}}`,
	} {
		f.Add([]byte(text), "h.test/team/app")
	}
	f.Fuzz(func(t *testing.T, data []byte, ref string) {
		c, entry, err := parseAuthFile(data, ref)
		if err != nil && c != (Credentials{}) || (c != Credentials{}) != (c.ServerAddress != "") {
			t.Errorf("%+v, %q, %v", c, entry, err)
		}
		if err != nil && strings.Contains(err.Error(), "MARKER") && !strings.Contains(ref, "MARKER") && !bytes.Contains(data, []byte("credsStore")) && !bytes.Contains(data, []byte("credHelpers")) {
			t.Errorf("it shows what the file holds: %v", err)
		}
	})
}
