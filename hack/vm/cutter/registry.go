package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// serveLayout serves the one image of an OCI layout, whatever its name, over HTTP on the loopback interface.
func serveLayout(dir string) (address string, _ *http.Server, err error) {
	var index struct {
		Manifests []struct{ MediaType, Digest string }
	}
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err == nil && len(index.Manifests) != 1 {
		err = errors.New("not one image")
	}
	if err != nil {
		return "", nil, err
	}
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	manifest := index.Manifests[0]
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digest := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if strings.Contains(r.URL.Path, "/manifests/") {
			digest = manifest.Digest
			w.Header().Set("Content-Type", manifest.MediaType)
		}
		hex, ok := strings.CutPrefix(digest, "sha256:")
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeFile(w, r, filepath.Join(dir, "blobs/sha256", filepath.Base(hex)))
	})}
	go s.Serve(at)
	return at.Addr().String(), s, nil
}
