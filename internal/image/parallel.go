package image

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
)

// layersAtATime is how many layers of one image are worked on at a time where nobody says otherwise.
const layersAtATime = 4

// eachLayer runs do for each of an image's layers, given by their sizes, so many at a time, and waits for all. The first that fails ends the others. The largest begin, so that
// none of them is worked on alone at the end; to the result the order is nothing, since each layer has a directory of its own.
func (s *Store) eachLayer(ctx context.Context, parallel int, sizes []int64, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, parallel)
	var workers sync.WaitGroup
	for _, i := range largestFirst(sizes) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		workers.Add(1)
		s.background(ctx, "make a layer", func(ctx context.Context) {
			defer workers.Done()
			defer func() { <-slots }()
			defer func() {
				if v := recover(); v != nil {
					s.log.Error("panic while making a layer", "layer", i, "panic", v, "stack", string(debug.Stack()))
					cancel(fmt.Errorf("layer %d: %w: %v", i, ErrPanic, v))
				}
			}()
			if err := do(ctx, i); err != nil {
				cancel(err)
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// largestFirst gives the indices in the order of the sizes.
func largestFirst(sizes []int64) []int {
	order := make([]int, len(sizes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[b], sizes[a]) })
	return order
}
