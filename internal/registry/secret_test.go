package registry

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestCVE_C9_SignedURLs: the registry sends downloads to a signed URL, which then fails in many ways. The signature shows nowhere.
func TestCVE_C9_SignedURLs(t *testing.T) {
	const signed = "X-Sig=MARKER-signature&x=a+MARKER%20b"
	ways := map[string]http.HandlerFunc{
		"refuses":   func(w http.ResponseWriter, r *http.Request) { problem(w, 403, "DENIED", "no "+r.URL.String()) },
		"not found": func(w http.ResponseWriter, r *http.Request) { problem(w, 404, "X", r.URL.RawQuery) },
		"asks": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://h/?`+signed+`"`)
			w.WriteHeader(401)
		},
		"aborts":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"no HTTP":      func(w http.ResponseWriter, r *http.Request) { raw(w, "MARKER-signature SMTP\r\n\r\n") },
		"wrong status": func(w http.ResponseWriter, r *http.Request) { raw(w, "HTTP/1.1 MARKER-signature\r\n\r\n") },
		"wrong header": func(w http.ResponseWriter, r *http.Request) { raw(w, "HTTP/1.1 200 OK\r\nMARKER-signature\r\n\r\n") },
		"wrong length": func(w http.ResponseWriter, r *http.Request) {
			raw(w, "HTTP/1.1 200 OK\r\nContent-Length: MARKER-signature\r\n\r\n")
		},
		"short": func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("x")) },
		"endless": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/again?"+signed, http.StatusTemporaryRedirect)
		},
		"nowhere": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://h.test:port/?"+signed)
			w.WriteHeader(307)
		},
		"dead port": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/?"+signed, http.StatusTemporaryRedirect)
		},
		"strange scheme": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "gopher://h/?"+signed, http.StatusTemporaryRedirect)
		},
		"control byte": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://h.test/\x7f?"+signed)
			w.WriteHeader(307)
		},
		"password in URL": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://u:MARKER-pw@127.0.0.1:1/", http.StatusTemporaryRedirect)
		},
		"echoes, encoded": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "MARKER-signature")
			w.Write([]byte("x"))
		},
		"wrong range": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "MARKER-signature")
			w.WriteHeader(206)
		},
	}
	for name, f := range ways {
		t.Run(name, func(t *testing.T) {
			l, r := newLoopback(t, false), newRig(t)
			ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
			store := newLoopback(t, false)
			store.before = func(w http.ResponseWriter, r *http.Request) bool { f(w, r); return true }
			l.before = func(w http.ResponseWriter, r *http.Request) bool {
				if isBlob(r) {
					http.Redirect(w, r, store.URL+"/b?"+signed, http.StatusTemporaryRedirect)
				}
				return isBlob(r)
			}
			_, err := r.Pull(background, ref, Credentials{})
			if err == nil {
				t.Error("pulled")
			}
			noMarker(t, r, err)
		})
	}
}

// TestCVE_C9_EchoedSecrets: a registry tells the credentials and the token it was sent back in its errors.
func TestCVE_C9_EchoedSecrets(t *testing.T) {
	l, r := newLoopback(t, false), newRig(t)
	ref, _, _ := l.push(t, "app:v1", newImage(t, "x"))
	ask := tokenServer(l, l.URL+"/token")
	for name, before := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"registry": func(w http.ResponseWriter, r *http.Request) bool {
			if a := r.Header.Get("Authorization"); strings.HasPrefix(a, "Bearer") {
				problem(w, 403, a, "you sent "+a)
				return true
			}
			return ask(w, r)
		},
		"token server": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/token") {
				u, p, _ := r.BasicAuth()
				problem(w, 401, "X", r.Header.Get("Authorization")+u+p+r.FormValue("refresh_token"))
				return true
			}
			return ask(w, r)
		},
		"token is no JSON": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/token") {
				io.WriteString(w, "MARKER-token")
				return true
			}
			return ask(w, r)
		},
	} {
		l.set(before)
		for _, c := range []Credentials{{Username: user, Password: password}, {IdentityToken: identity}, {Auth: "cm9ib3Q6TUFSS0VSLXBhc3N3b3Jk"}} {
			_, err := r.Pull(background, ref, c)
			if err == nil {
				t.Errorf("%s: pulled", name)
			}
			noMarker(t, r, err)
			if strings.Contains(err.Error(), "TUFSS0VS") {
				t.Errorf("%s: base64 of a secret shows: %v", name, err)
			}
		}
	}
}
