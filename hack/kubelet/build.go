package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// kubernetes is the module with all that is Kubernetes', below the checkout.
const kubernetes = "hack/kubelet/kubernetes"

func checkout(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the checkout: go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(mod))), nil
}

// binary gives the kubelet's path: the one asked for, else build/kubelet-VERSION of this checkout, built if it isn't there.
func binary(ctx context.Context, wanted string) (string, error) {
	if wanted != "" {
		if _, err := os.Stat(wanted); err != nil {
			return "", fmt.Errorf("-kubelet: %w", err)
		}
		return filepath.Abs(wanted)
	}
	checkout, err := checkout(ctx)
	if err != nil {
		return "", err
	}
	module := filepath.Join(checkout, kubernetes)
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	list.Dir = module
	out, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("read the kubelet's version in %s: %w", module, err)
	}
	version := strings.TrimSpace(string(out))
	path := filepath.Join(checkout, "build", "kubelet-"+version)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, build(ctx, module, version, path)
}

// build compiles the kubelet aside, so that path is never half a file.
func build(ctx context.Context, module, version, path string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTime)
	defer cancel()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	fmt.Printf("building the kubelet %s; the first time that takes some minutes\n", version)
	began := time.Now()
	// The linker says the version, as the project's own scripts do: the kubelet derives its features from it.
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) != 3 {
		return fmt.Errorf("the kubelet's version is %q: want vMAJOR.MINOR.PATCH", version)
	}
	stamp := "-s -w"
	for _, kv := range [][2]string{{"gitVersion", version}, {"gitMajor", parts[0]}, {"gitMinor", parts[1]}} {
		stamp += " -X k8s.io/component-base/version." + kv[0] + "=" + kv[1]
	}
	compile := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", stamp, "-o", path+".new", "k8s.io/kubernetes/cmd/kubelet")
	compile.Dir = module
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	compile.Stdout, compile.Stderr = os.Stdout, os.Stderr
	if err := compile.Run(); err != nil {
		return fmt.Errorf("build the kubelet in %s: %w", module, err)
	}
	fmt.Printf("built in %s: %s\n", time.Since(began).Round(time.Second), path)
	return os.Rename(path+".new", path)
}
