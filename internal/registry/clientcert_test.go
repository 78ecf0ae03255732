package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestClientCertificate: it is shown to the host it was configured for, and not to where that redirects.
func TestClientCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})

	l, other, r := newLoopback(t, true), newLoopback(t, true), newRig(t)
	for _, s := range []*loopback{l, other} {
		s.TLS.ClientAuth = tls.RequestClientCert
	}
	l.push(t, "app:v1", newImage(t, "x"))
	other.push(t, "app:v1", newImage(t, "x"))
	l.set(func(w http.ResponseWriter, r *http.Request) bool {
		if len(r.TLS.PeerCertificates) == 0 {
			problem(w, 403, "DENIED", "no certificate")
			return true
		}
		if isBlob(r) {
			// The test server's certificate is for example.com and 127.0.0.1: the other is met by its address, l by a name.
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}
		return isBlob(r)
	})
	shown := make(chan int, 100)
	other.set(func(_ http.ResponseWriter, r *http.Request) bool {
		shown <- len(r.TLS.PeerCertificates)
		return false
	})
	server := fmt.Sprintf("server = \"https://localhost:%s\"\nskip_verify = true\nca = \"ca.pem\"\n", portOf(l.URL))
	dir := filepath.Dir(r.hosts(t, "h.test", server))
	must(t, os.WriteFile(filepath.Join(dir, "ca.pem"), pemOf(other.Certificate().Raw), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "c.pem"), pemOf(cert), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "k.pem"), keyPEM, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "both.pem"), append(keyPEM, pemOf(cert)...), 0o600))
	if _, err := r.Pull(background, "h.test/app:v1", Credentials{}); err == nil {
		t.Error("pulled without a certificate")
	}
	for _, client := range []string{`[["c.pem", "k.pem"]]`, `"both.pem"`, `["both.pem"]`, `[["both.pem", ""]]`} {
		r.hosts(t, "h.test", server+"client = "+client)
		_, err = r.Pull(background, "h.test/app:v1", Credentials{})
		must(t, err)
		must(t, r.Images.Remove("h.test/app:v1"))
	}
	// As Docker has it: c.cert and c.key, and no hosts.toml.
	named := "127.0.0.1:" + portOf(l.URL)
	docker := filepath.Join(r.certs, named)
	must(t, os.MkdirAll(docker, 0o755))
	must(t, os.WriteFile(filepath.Join(docker, "ca.crt"), pemOf(l.Certificate().Raw), 0o644))
	must(t, os.WriteFile(filepath.Join(docker, "c.cert"), pemOf(cert), 0o644))
	if _, err := r.Pull(background, named+"/app:v1", Credentials{}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), filepath.Join(docker, "c.key")) {
		t.Errorf("without the key: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(docker, "c.key"), keyPEM, 0o600))
	l.set(func(w http.ResponseWriter, r *http.Request) bool {
		if len(r.TLS.PeerCertificates) == 0 {
			problem(w, 403, "DENIED", "no certificate")
		}
		return len(r.TLS.PeerCertificates) == 0
	})
	_, err = r.Pull(background, named+"/app:v1", Credentials{})
	must(t, err)
	close(shown)
	asked := 0
	for n := range shown {
		asked++
		if n != 0 {
			t.Error("the other host saw the certificate")
		}
	}
	if asked == 0 {
		t.Error("the other host was never asked")
	}
}
