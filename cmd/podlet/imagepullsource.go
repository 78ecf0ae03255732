package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"time"

	"podlet/internal/image"
	"podlet/internal/registry"
)

// pullRequest is what a pull is asked for with.
type pullRequest struct {
	Name        string
	Credentials registry.Credentials
}

// puller pulls into the store: by itself, or by the podlet that has it.
type puller interface {
	Pull(ctx context.Context, q pullRequest, report func(registry.Progress)) (image.Image, error)
	Close() error
}

// reportEvery is how often a pull tells how far it is.
const reportEvery = 200 * time.Millisecond

// openPuller opens the store below o.Root, or speaks to the podlet that has it.
func openPuller(o *options) (puller, error) {
	store, err := image.Open(o.imagesDir())
	if errors.Is(err, image.ErrLocked) {
		return servedPuller{newJobClient(o.State)}, nil
	}
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	config := registry.Config{Images: store, CertsDirs: o.CertsDirs, Verifiers: o.Verifiers, Agent: "podlet/" + version, Log: log}
	return &ownPuller{store, registry.New(config)}, nil
}

type ownPuller struct {
	store    *image.Store
	registry *registry.Puller
}

func (p *ownPuller) Pull(ctx context.Context, q pullRequest, report func(registry.Progress)) (image.Image, error) {
	return p.registry.PullWatched(ctx, q.Name, q.Credentials, reportEvery, report)
}

func (p *ownPuller) Close() error {
	p.registry.Close()
	return p.store.Close()
}

// servedPuller asks the podlet that serves. Credentials go over its debug socket, which only root can reach.
type servedPuller struct{ *jobClient }

func (s servedPuller) Pull(ctx context.Context, q pullRequest, report func(registry.Progress)) (image.Image, error) {
	return askJob[image.Image](ctx, s.jobClient, "/images/pull", q, report)
}

func (s servedPuller) Explain(ctx context.Context, q pullRequest) (registry.Explanation, error) {
	return askJob[registry.Explanation](ctx, s.jobClient, "/images/explain", q, nothing)
}

// servePulls answers servedPuller.
func servePulls(mux *http.ServeMux, p *registry.Puller) {
	serveJob(mux, "/images/pull", func(ctx context.Context, q pullRequest, report func(registry.Progress)) (image.Image, error) {
		return p.PullWatched(ctx, q.Name, q.Credentials, reportEvery, report)
	})
	serveJob(mux, "/images/explain", func(_ context.Context, q pullRequest, _ func(struct{})) (registry.Explanation, error) {
		return p.Explain(q.Name, q.Credentials)
	})
}
