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
	mod, err := output(c.host(ctx, "env", "GOMOD"))
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

// host is a run of go for this machine.
func (c checkout) host(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.goc, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "PWD="+c.dir)
	return cmd
}

// command is a run of go for the guest: no cgo, so that what it builds needs none of the host's libraries, and no race detector, which needs cgo and costs minutes under emulation. The host's own runs have it.
func (c checkout) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := c.host(ctx, args...)
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	return cmd
}

// output gives a command's standard output; an error has what it said on the other.
func output(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, exit.Stderr)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return out, nil
}
