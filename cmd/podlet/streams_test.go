package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStreamFlags(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.pem")
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct{ address, cert, key, want string }{
		{"127.0.0.1:0", none, "", "belong together"},
		{"127.0.0.1:0", "", none, "belong together"},
		{"127.0.0.1:0", none, none, "none.pem"},
		{"127.0.0.1:0", broken, broken, "certificate"},
		{"nonsense", "", "", "nonsense"},
	} {
		o := defaultOptions()
		o.StreamAddress, o.StreamCert, o.StreamKey = e.address, e.cert, e.key
		if s, err := o.streams(slog.New(slog.DiscardHandler)); err == nil {
			s.Close()
			t.Errorf("%+v is served", e)
		} else if !strings.Contains(err.Error(), e.want) {
			t.Errorf("%+v: %v", e, err)
		}
	}
}
