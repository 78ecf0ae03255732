package logfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// ErrHangs says that an earlier open in the same log directory was left behind and still waits for the disk.
var ErrHangs = errors.New("the disk does not answer")

// hanging counts the opens left behind, by log directory. Each holds a thread,
// and a kubelet tries again for as long as the disk is dead: so there, and only
// there, the next open is refused at once.
var hanging struct {
	sync.Mutex
	in map[string]int
}

// OpenContext is [Open], left behind when ctx ends first: a thread that waits
// for a frozen or dead disk can't be called back and stays until the disk
// answers. The file is then closed; that it was made can't be undone. Until
// then, opens in the same logDir are ErrHangs.
func OpenContext(ctx context.Context, logDir, logPath string) (*os.File, error) {
	return leavable(ctx, logDir, logPath, Open)
}

// ReopenContext is [Reopen], left behind as [OpenContext] is.
func ReopenContext(ctx context.Context, logDir, logPath string) (*Reopened, error) {
	return leavable(ctx, logDir, logPath, Reopen)
}

func leavable[F io.Closer](ctx context.Context, logDir, logPath string, open func(logDir, logPath string) (F, error)) (F, error) {
	var none F
	if err := Check(logDir, logPath); err != nil {
		return none, err
	}
	err := ctx.Err()
	if hangs(logDir) {
		err = ErrHangs
	}
	if err != nil {
		return none, fmt.Errorf("open log file %s/%s: %w", logDir, logPath, err)
	}
	type result struct {
		file F
		err  error
	}
	done, left := make(chan result), make(chan struct{})
	go func() {
		file, err := open(logDir, logPath)
		select {
		case done <- result{file, err}:
		case <-left:
			if err == nil {
				file.Close()
			}
			count(logDir, -1)
		}
	}()
	select {
	case r := <-done:
		return r.file, r.err
	case <-ctx.Done():
		count(logDir, 1)
		close(left)
		return none, fmt.Errorf("open log file %s/%s: %w: %w", logDir, logPath, ErrHangs, ctx.Err())
	}
}

func hangs(logDir string) bool {
	hanging.Lock()
	defer hanging.Unlock()
	return hanging.in[logDir] > 0
}

func count(logDir string, by int) {
	hanging.Lock()
	defer hanging.Unlock()
	if hanging.in == nil {
		hanging.in = map[string]int{}
	}
	hanging.in[logDir] += by
	if hanging.in[logDir] == 0 {
		delete(hanging.in, logDir)
	}
}
