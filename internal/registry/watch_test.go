package registry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"podlet/internal/image"
)

// TestWatch: in false time, what a pull does each second, and whether it is given up in an hour.
func TestWatch(t *testing.T) {
	layer, err := image.ParseDigest("sha256:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	must(t, err)
	for _, c := range []struct {
		name   string
		active bool
		each   func(w *watch, progress func(image.LayerProgress), second int64)
		stalls bool
	}{
		{"nothing", true, func(*watch, func(image.LayerProgress), int64) {}, true},
		{"a byte a second", true, func(w *watch, _ func(image.LayerProgress), _ int64) { w.add(1) }, true},
		{"just too little", true, func(w *watch, _ func(image.LayerProgress), _ int64) { w.add(1023) }, true},
		{"a little more than enough", true, func(w *watch, _ func(image.LayerProgress), _ int64) { w.add(1100) }, false},
		{"a burst every four minutes", true, func(w *watch, _ func(image.LayerProgress), s int64) {
			if s%240 == 1 {
				w.add(1 << 20)
			}
		}, false},
		{"entries alone", true, func(_ *watch, progress func(image.LayerProgress), s int64) {
			progress(image.LayerProgress{DiffID: layer, Entries: 3 * s})
		}, false},
		{"the same entries again and again", true, func(_ *watch, progress func(image.LayerProgress), _ int64) {
			progress(image.LayerProgress{DiffID: layer, Entries: 1000})
		}, true},
		{"another pull unpacks its layer", false, func(*watch, func(image.LayerProgress), int64) {}, false},
		{"waits, then stalls", false, func(w *watch, _ func(image.LayerProgress), s int64) {
			if s == 1800 {
				w.enter()
			}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				r := remote{watch: &watch{}, progress: &progress{}}
				if c.active {
					r.watch.enter()
				}
				go r.watch.run(ctx, cancel, 5*time.Minute, 1<<10)
				for s := range int64(3600) {
					c.each(r.watch, r.entries, s+1)
					time.Sleep(time.Second)
				}
				if got := errors.Is(context.Cause(ctx), ErrStalled); got != c.stalls {
					t.Errorf("given up: %t, want %t", got, c.stalls)
				}
				cancel(nil)
			})
		})
	}
}
