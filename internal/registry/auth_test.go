package registry

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

const (
	user     = "robot"
	password = "MARKER-password"
	identity = "MARKER-identity"
	token    = "MARKER-token"
)

func wantBasic(w http.ResponseWriter, r *http.Request) bool {
	if u, p, _ := r.BasicAuth(); u == user && p == password {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="here"`)
	problem(w, 401, "UNAUTHORIZED", "who are you")
	return true
}

// tokenServer makes before of a registry that wants a token, which its realm gives out.
func tokenServer(l *loopback, realm string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/token") {
			giveToken(w, r)
			return true
		}
		if r.Header.Get("Authorization") == "Bearer "+token {
			return false
		}
		// A scheme that nobody knows comes first.
		w.Header().Add("WWW-Authenticate", `Negotiate`)
		w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s",service="registry",scope="repository:app:pull"`, realm))
		problem(w, 401, "UNAUTHORIZED", "who are you")
		return true
	}
}

func giveToken(w http.ResponseWriter, r *http.Request) {
	u, p, _ := r.BasicAuth()
	ok := u == user && p == password && r.URL.Query().Get("scope") == "repository:app:pull" && r.URL.Query().Get("service") == "registry"
	if r.Method == http.MethodPost {
		ok = r.FormValue("grant_type") == "refresh_token" && r.FormValue("refresh_token") == identity && r.FormValue("service") == "registry"
	}
	if !ok {
		problem(w, 401, "UNAUTHORIZED", "no token for you")
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token})
}

func TestCredentials(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	for _, c := range []struct {
		name   string
		bearer bool
		give   Credentials
		err    error
	}{
		{"basic", false, Credentials{Username: user, Password: password}, nil},
		{"basic, auth", false, Credentials{Auth: auth}, nil},
		{"basic, wrong", false, Credentials{Username: user, Password: "wrong"}, ErrUnauthenticated},
		{"basic, none", false, Credentials{}, ErrUnauthenticated},
		{"basic, not base64", false, Credentials{Auth: "%%%"}, ErrUnauthenticated},
		{"basic, no colon", false, Credentials{Auth: base64.StdEncoding.EncodeToString([]byte("nocolon"))}, ErrUnauthenticated},
		{"basic, for another server", false, Credentials{Username: user, Password: password, ServerAddress: "https://other.test/v1/"}, ErrUnauthenticated},
		{"token", true, Credentials{Username: user, Password: password}, nil},
		{"token, auth", true, Credentials{Auth: auth}, nil},
		{"token, wrong", true, Credentials{Username: user, Password: "wrong"}, ErrUnauthenticated},
		{"token, none", true, Credentials{}, ErrUnauthenticated},
		{"identity token", true, Credentials{IdentityToken: identity}, nil},
		{"identity token, wrong", true, Credentials{IdentityToken: "wrong"}, ErrUnauthenticated},
		{"registry token", true, Credentials{RegistryToken: token}, nil},
		{"registry token, wrong", true, Credentials{RegistryToken: "wrong"}, ErrUnauthenticated},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, r := newLoopback(t, false), newRig(t)
			ref, _, id := l.push(t, "app:v1", newImage(t, "x"))
			l.set(wantBasic)
			if c.bearer {
				l.set(tokenServer(l, l.URL+"/token"))
			}
			img, err := r.Pull(background, ref, c.give)
			if !errors.Is(err, c.err) || c.err == nil && (err != nil || img.ID.String() != id) {
				t.Fatalf("got %v, %v; want %v", img.ID, err, c.err)
			}
			if err != nil && strings.Contains(err.Error(), "MARKER") {
				t.Errorf("a secret shows: %v", err)
			}
			if n := l.requests("/token"); err == nil && c.bearer && c.give.RegistryToken == "" && n != 1 {
				t.Errorf("%d tokens fetched for one pull, want 1", n)
			}
		})
	}
}

func TestServerAddressNamesTheRegistry(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	l.set(wantBasic)
	_, err := r.Pull(background, ref, Credentials{Username: user, Password: password, ServerAddress: "http://" + l.address + "/v2/"})
	must(t, err)
	for a, b := range map[string]string{"https://index.docker.io/v1/": "registry-1.docker.io", "docker.io": "registry-1.docker.io", "H:443": "h", "h:5000": "h:5000"} {
		if serverName(a) != serverName(b) {
			t.Errorf("%q and %q differ", a, b)
		}
	}
	if serverName("h:5000") == serverName("h") {
		t.Error("ports don't count")
	}
}

func TestDenied(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	l.before = func(w http.ResponseWriter, _ *http.Request) bool {
		problem(w, 403, "DENIED", "your plan has ended")
		return true
	}
	if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "your plan has ended") {
		t.Error(err)
	}
}

// public makes l a registry at a public address, for the rig; all else on this machine stays what it is.
func (r *rig) public(t testing.TB, l *loopback) {
	t.Helper()
	if !strings.HasPrefix(l.address, "127.0.0.1:") {
		t.Fatal(l.address)
	}
	// All of 127.0.0.1 looks public then; others listen on 127.0.0.2.
	r.classOf = pretend
}

// TestCVE_C8_SecretsDontFollow: registry A points at B, which must never see a secret of A's.
func TestCVE_C8_SecretsDontFollow(t *testing.T) {
	give := Credentials{Username: user, Password: password}
	for _, c := range []struct {
		name  string
		give  Credentials
		a     func(b *loopback, l *loopback) func(w http.ResponseWriter, r *http.Request) bool
		works bool
		asked bool // B is asked at all
	}{
		{"blob redirected", give, func(b, l *loopback) func(w http.ResponseWriter, r *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if wantBasic(w, r) {
					return true
				}
				if strings.Contains(r.URL.Path, "/blobs/") {
					http.Redirect(w, r, b.URL+r.URL.Path+"?sig=MARKER-signature", http.StatusTemporaryRedirect)
					return true
				}
				return false
			}
		}, true, true},
		{"all redirected, and B asks for credentials", give, func(b, l *loopback) func(w http.ResponseWriter, r *http.Request) bool {
			b.set(wantBasic)
			return func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, b.URL+r.URL.Path, http.StatusFound)
				return true
			}
		}, false, true},
		{"all redirected, and B asks for a token of its own realm", give, func(b, l *loopback) func(w http.ResponseWriter, r *http.Request) bool {
			b.set(tokenServer(b, b.URL+"/token"))
			return func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, b.URL+r.URL.Path, http.StatusFound)
				return true
			}
		}, false, true},
		{"redirected to B and back", give, func(b, l *loopback) func(w http.ResponseWriter, r *http.Request) bool {
			b.before = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, l.URL+r.URL.Path+"?back", http.StatusFound)
				return true
			}
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.RawQuery == "back" {
					return wantBasic(w, r)
				}
				if wantBasic(w, r) {
					return true
				}
				http.Redirect(w, r, b.URL+r.URL.Path, http.StatusFound)
				return true
			}
		}, false, true},
		{"realm redirects, GET", give, func(b, l *loopback) func(w http.ResponseWriter, r *http.Request) bool {
			ask := tokenServer(l, l.URL+"/token")
			return func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/token") {
					http.Redirect(w, r, b.URL+"/token", http.StatusTemporaryRedirect)
					return true
				}
				return ask(w, r)
			}
		}, false, false},
		{"realm redirects, POST", Credentials{IdentityToken: identity}, func(b, l *loopback) func(w http.ResponseWriter, r *http.Request) bool {
			ask := tokenServer(l, l.URL+"/token")
			return func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/token") {
					http.Redirect(w, r, b.URL+"/token", http.StatusPermanentRedirect)
					return true
				}
				return ask(w, r)
			}
		}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, b, r := newLoopback(t, false), newLoopback(t, false), newRig(t)
			ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
			b.push(t, "app:v1", newImage(t, "x"))
			l.set(c.a(b, l))
			_, err := r.Pull(background, ref, c.give)
			if (err == nil) != c.works {
				t.Errorf("pull: %v", err)
			}
			seen := b.everything()
			if (seen != "") != c.asked {
				t.Errorf("B was asked: %t, want %t", seen != "", c.asked)
			}
			for _, s := range []string{"Authorization", password, identity, token, base64.StdEncoding.EncodeToString([]byte(user + ":" + password)), "Referer", "Cookie"} {
				if strings.Contains(seen, s) {
					t.Errorf("B saw %q:\n%s", s, seen)
				}
			}
			noMarker(t, r, err)
		})
	}
}

// noMarker: no secret shows in the error or in the log.
func noMarker(t testing.TB, r *rig, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "MARKER") {
		t.Errorf("a secret shows in the error: %v", err)
	}
	if strings.Contains(r.logs.String(), "MARKER") {
		t.Errorf("a secret shows in the log:\n%s", r.logs)
	}
}

// TestCVE_C8_RealmAddress: where a token server may be, depending on where the registry is.
func TestCVE_C8_RealmAddress(t *testing.T) {
	var unsafe atomic.Bool
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	r.public(t, l)
	inner := listenAt(t, "127.0.0.2", func(http.ResponseWriter, *http.Request) { unsafe.Store(true) })
	_, port, _ := strings.Cut(strings.TrimPrefix(inner, "http://"), ":")
	for _, realm := range []string{
		inner + "/token", "http://localhost:" + port + "/token", "http://127.1:" + port + "/token", "http://[::1]:" + port, "http://[::ffff:127.0.0.2]:" + port,
		"http://2130706434:" + port, "http://0.0.0.0:" + port, "http://169.254.169.254/latest", "http://[fe80::1%25lo]:1/", "http://10.0.0.1/token",
		"http://100.100.100.200/", "http://[64:ff9b::7f00:2]/", "ftp://h.test/", "file:///etc/passwd", "http://user:MARKER-inner@h.test/", "::", "",
	} {
		l.set(tokenServer(l, realm))
		_, err := r.Pull(background, ref, Credentials{Username: user, Password: password})
		if err == nil {
			t.Errorf("realm %q: pulled", realm)
		}
		if realm == inner+"/token" && !errors.Is(err, ErrRefused) {
			t.Errorf("realm %q: %v", realm, err)
		}
		noMarker(t, r, err)
	}
	if unsafe.Load() {
		t.Error("the inner server was asked")
	}
	// The same realm is right for a registry that is there itself.
	r.classOf = classOf
	l.set(tokenServer(l, "http://localhost:"+portOf(l.URL)+"/token"))
	_, err := r.Pull(background, ref, Credentials{Username: user, Password: password})
	must(t, err)
}

func portOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return u.Port()
}

// TestCVE_C8_RedirectAddress: a download may lead to a private store of blobs, not to this machine.
func TestCVE_C8_RedirectAddress(t *testing.T) {
	var asked atomic.Bool
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	r.public(t, l)
	inner := listenAt(t, "127.0.0.2", func(http.ResponseWriter, *http.Request) { asked.Store(true) })
	l.before = func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, inner+"/admin", http.StatusFound)
		return true
	}
	if _, err := r.Pull(background, ref, Credentials{}); !errors.Is(err, ErrRefused) || asked.Load() {
		t.Errorf("%v; asked: %t", err, asked.Load())
	}
}
