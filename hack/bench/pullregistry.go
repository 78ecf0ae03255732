package main

import (
	"net"
	"net/http"
	"strings"
)

// pullRegistry serves one image.
type pullRegistry struct {
	http.Server
	address string
	image   *pullImage
}

func serveImage(img *pullImage) (*pullRegistry, error) {
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &pullRegistry{address: at.Addr().String(), image: img}
	r.Handler = http.HandlerFunc(r.serve)
	go r.Serve(at)
	return r, nil
}

// name is what is pulled.
func (r *pullRegistry) name(tag string) string {
	return r.address + "/" + r.image.Repository + ":" + tag
}

func (r *pullRegistry) serve(w http.ResponseWriter, req *http.Request) {
	what := strings.TrimPrefix(req.URL.Path, "/v2/"+r.image.Repository+"/")
	digest := strings.TrimPrefix(what, "blobs/")
	if tag, ok := strings.CutPrefix(what, "manifests/"); ok {
		digest = r.image.Manifests[tag]
		w.Header().Set("Content-Type", ociType+"manifest.v1+json")
	}
	if !strings.HasPrefix(digest, "sha256:") {
		http.NotFound(w, req)
		return
	}
	http.ServeFile(w, req, r.image.blob(digest))
}
