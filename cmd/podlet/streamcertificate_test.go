package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

// newPair gives PEM of a certificate with that number, and of its key.
func newPair(t *testing.T, number int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(number), NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// TestStreamCertificate: a renewed pair serves the next connection; one that doesn't load is told once, and the one before serves on.
func TestStreamCertificate(t *testing.T) {
	cert, key := t.TempDir()+"/cert.pem", t.TempDir()+"/key.pem"
	first, firstKey := newPair(t, 1)
	second, secondKey := newPair(t, 2)
	var log bytes.Buffer
	o := defaultOptions()
	o.StreamCert, o.StreamKey = cert, key
	write := func(file string, text []byte) {
		t.Helper()
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(cert, first)
	write(key, firstKey)
	c, err := o.streamTLS()
	if err != nil {
		t.Fatal(err)
	}
	c.log = slog.New(slog.NewTextHandler(&log, nil))
	for _, e := range []struct {
		what     string
		cert     []byte
		key      []byte
		serves   int64
		warnings int
	}{
		{"the first one", first, firstKey, 1, 0},
		{"half a renewal", second, firstKey, 1, 1},
		{"all of it", second, secondKey, 2, 1},
		{"a broken one", []byte("no certificate"), secondKey, 2, 2},
		{"the first one again", first, firstKey, 1, 2},
		{"one that breaks once more", []byte("no certificate"), firstKey, 1, 3},
	} {
		write(cert, e.cert)
		write(key, e.key)
		for range 3 {
			pair, err := c.get(nil)
			if err != nil {
				t.Fatalf("%s: %v", e.what, err)
			}
			parsed, err := x509.ParseCertificate(pair.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			if parsed.SerialNumber.Int64() != e.serves {
				t.Errorf("%s: number %v serves, want %d", e.what, parsed.SerialNumber, e.serves)
			}
		}
		if got := strings.Count(log.String(), "level=WARN"); got != e.warnings {
			t.Errorf("%s: %d warnings, want %d:\n%s", e.what, got, e.warnings, log.String())
		}
	}
}
