package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// fatal is an error that no waiting mends.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// await asks again until there is no error, for at most so long, and then gives the last one.
func await(ctx context.Context, atMost time.Duration, what string, ask func() error) error {
	late := time.After(atMost)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if errors.As(err, &fatal{}) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no longer waiting for %s: %w", what, context.Cause(ctx))
		case <-late:
			return fmt.Errorf("waited %s for %s: %w", atMost, what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
