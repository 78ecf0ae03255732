package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"podlet/internal/image"
)

// pinned are the images that a kubelet should not collect.
func (o *options) pinned() (*image.Pinned, error) {
	pinned, err := image.ParsePinned(o.PinnedImages)
	if err != nil {
		return nil, fmt.Errorf("--pinned-images: %w", err)
	}
	return pinned, nil
}

// importImages begins to import what is in the import directory, while podlet serves already: pods that are there don't wait for archives. wait ends it, or awaits its end.
func (o *options) importImages(ctx context.Context, store *image.Store, log *slog.Logger) (wait func()) {
	if o.ImportDir == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				log.Error("panic while importing", "dir", o.ImportDir, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		err := store.ImportDir(ctx, o.ImportDir, func(file string, err error) {
			log.Error("an archive of the import directory can't be imported", "file", file, "error", err)
		})
		if err != nil && ctx.Err() == nil {
			log.Error("the import directory can't be imported", "error", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
