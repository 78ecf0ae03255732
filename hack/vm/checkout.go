package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// checkout is the module that is tested, and the go command that builds it.
type checkout struct {
	top string // the directory of go.mod
	dir string // where package patterns are relative to
	goc string // the go command: $GO, or "go"
}

func findCheckout(ctx context.Context, dir string) (checkout, error) {
	c := checkout{goc: os.Getenv("GO")}
	if c.goc == "" {
		c.goc = "go"
	}
	var err error
	if c.dir, err = filepath.Abs(dir); err != nil {
		return c, err
	}
	// go.mod is told with links resolved, and both must be of one tree.
	if c.dir, err = filepath.EvalSymlinks(c.dir); err != nil {
		return c, err
	}
	mod, err := c.output(ctx, "env", "GOMOD")
	if err != nil {
		return c, err
	}
	file := strings.TrimSpace(string(mod))
	if file == "" || file == os.DevNull {
		return c, fmt.Errorf("%s is in no Go module", c.dir)
	}
	c.top = filepath.Dir(file)
	return c, nil
}

// cache is where disks are kept; git ignores it.
func (c checkout) cache() string { return filepath.Join(c.top, "build", "vm") }

// command is a run of go for the guest: no cgo, so that what it builds needs none of the host's libraries, and no race detector, which needs cgo and costs minutes under emulation. The host's own runs have it.
func (c checkout) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.goc, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "PWD="+c.dir)
	return cmd
}

// output gives go's standard output; an error has what it said on the other.
func (c checkout) output(ctx context.Context, args ...string) ([]byte, error) {
	out, err := c.command(ctx, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s %s: %w\n%s", c.goc, strings.Join(args, " "), err, exit.Stderr)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", c.goc, strings.Join(args, " "), err)
	}
	return out, nil
}
