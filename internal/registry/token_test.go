package registry

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// TestPrecedence: of credentials in several forms one is used, and always the same.
func TestPrecedence(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("a:b"))
	all := Credentials{Username: "u", Password: "p", Auth: auth, IdentityToken: "i", RegistryToken: "r"}
	for _, c := range []struct {
		without func(c *Credentials)
		want    string
	}{
		{func(*Credentials) {}, "{Username: Password: RefreshToken: AccessToken:r}"},
		{func(c *Credentials) { c.RegistryToken = "" }, "{Username: Password: RefreshToken:i AccessToken:}"},
		{func(c *Credentials) { c.RegistryToken, c.IdentityToken = "", "" }, "{Username:u Password:p RefreshToken: AccessToken:}"},
		{func(c *Credentials) { *c = Credentials{Auth: auth, Password: "p"} }, "{Username: Password:p RefreshToken: AccessToken:}"},
		{func(c *Credentials) { *c = Credentials{Auth: auth} }, "{Username:a Password:b RefreshToken: AccessToken:}"},
		{func(c *Credentials) { c.ServerAddress = "other.test" }, "{Username: Password: RefreshToken: AccessToken:}"},
		{func(c *Credentials) { c.ServerAddress = "https://h.test:443/v2/" }, "{Username: Password: RefreshToken: AccessToken:r}"},
		{func(c *Credentials) { c.ServerAddress = "h.test.evil.test" }, "{Username: Password: RefreshToken: AccessToken:}"},
		{func(c *Credentials) { c.ServerAddress = "evil.test/h.test" }, "{Username: Password: RefreshToken: AccessToken:}"},
		{func(c *Credentials) { c.ServerAddress = "https://h.test@evil.test" }, "{Username: Password: RefreshToken: AccessToken:}"},
	} {
		give := all
		c.without(&give)
		got, err := give.forHost("h.test")
		if text := fmt.Sprintf("%+v", got); err != nil || text != c.want {
			t.Errorf("%+v: %s, %v; want %s", give, text, err, c.want)
		}
	}
}

// TestTokenEnds: a token that ends in the middle of a pull is fetched anew, also for a download that goes on.
func TestTokenEnds(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", bigImage(t, "x", 1<<20))
	var given, refused, torn atomic.Int64
	l.set(func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path == "/token" {
			json.NewEncoder(w).Encode(map[string]string{"token": fmt.Sprint("token-", given.Add(1))})
			return true
		}
		if q.Header.Get("Authorization") != fmt.Sprint("Bearer token-", given.Load()) {
			refused.Add(1)
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="x"`, l.URL))
			problem(w, 401, "UNAUTHORIZED", "the token has ended")
			return true
		}
		if strings.Contains(q.URL.Path, "/manifests/") || torn.Add(1) > 4 {
			return false
		}
		// Its token ends with the connection, three times for the layer.
		given.Add(1)
		return breakAfter(l, 100<<10, false)(w, q)
	})
	_, err := r.Pull(background, ref, Credentials{Username: user, Password: password})
	must(t, err)
	if refused.Load() < 4 {
		t.Errorf("only %d tokens had ended", refused.Load())
	}
}

// TestTokenServerInTrouble: its 429 and 503 are waited for as the registry's own; its refusal is not.
func TestTokenServerInTrouble(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	ask := tokenServer(l, l.URL+"/token")
	var n atomic.Int64
	l.set(func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path == "/token" && n.Add(1) <= 2 {
			problem(w, []int{429, 503}[n.Load()-1], "X", "in a moment")
			return true
		}
		return ask(w, q)
	})
	_, err := r.Pull(background, ref, Credentials{Username: user, Password: password})
	must(t, err)
	if slept := r.slept.take(); len(slept) != 2 {
		t.Errorf("waited %v", slept)
	}
	n.Store(2)
	_, err = r.Pull(background, ref, Credentials{Username: user, Password: "wrong"})
	if slept := r.slept.take(); !errors.Is(err, ErrUnauthenticated) || len(slept) != 0 {
		t.Errorf("%v, waited %v", err, slept)
	}
}
