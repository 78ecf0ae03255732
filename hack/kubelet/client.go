package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// buildClient compiles kubernetes/client into build/. Its sources change, so Go's cache says whether there is something to do.
func buildClient(ctx context.Context) (string, error) {
	checkout, err := checkout(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	path := filepath.Join(checkout, "build", "kubelet-client")
	compile := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path, "./client")
	compile.Dir = filepath.Join(checkout, kubernetes)
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	compile.Stdout, compile.Stderr = os.Stdout, os.Stderr
	if err := compile.Run(); err != nil {
		return "", fmt.Errorf("build kubectl's library in %s: %w", compile.Dir, err)
	}
	return path, nil
}
