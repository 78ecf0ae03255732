package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"podlet/internal/image"
	"podlet/internal/registry"
	"podlet/pod"
)

func debugSocket(state string) string { return filepath.Join(state, "debug.sock") }

// serveDebug serves net/http/pprof, and images and addresses to podlet's own commands, on a unix socket in the state directory, which only root can
// enter:
//
//	curl --unix-socket /run/podlet/debug.sock 'http://podlet/debug/pprof/goroutine?debug=2'
func serveDebug(state string, store *image.Store, puller *registry.Puller, pods *pod.Runtime, log *slog.Logger) (*http.Server, error) {
	listener, err := listen("state", debugSocket(state))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	serveImages(mux, store)
	servePulls(mux, puller)
	serveNetwork(mux, pods)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go serveHTTP(server, listener, log)
	return server, nil
}

// debugClient asks whoever serves the debug socket; the URLs' host is not looked at.
func debugClient(state string) *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", debugSocket(state))
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial}}
}

// nobodyServes: there is no podlet's socket, or one that a podlet left.
func nobodyServes(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

func serveHTTP(server *http.Server, listener net.Listener, log *slog.Logger) {
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Warn("the debug socket is not served any more", "error", err)
	}
}
