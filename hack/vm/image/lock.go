package image

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the exclusive lock of the file, waiting for another holder; closing the returned file gives it up, and so does any end of this process.
func lock(ctx context.Context, file string, say func(string, ...any)) (*os.File, error) {
	held, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		say("waiting for another build of the disks, which holds %s", file)
		err = waitForLock(ctx, held)
	}
	if err != nil {
		held.Close()
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return held, nil
}

// waitForLock gives up as ctx does. Its goroutine then stays in flock(2) until the other holder is done; the kernel drops the lock at once, as nobody has the file open any more.
func waitForLock(ctx context.Context, held *os.File) error {
	fd := int(held.Fd())
	taken := make(chan error, 1)
	go func() {
		for {
			err := unix.Flock(fd, unix.LOCK_EX)
			if !errors.Is(err, unix.EINTR) {
				taken <- err
				return
			}
		}
	}()
	select {
	case err := <-taken:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
