package image

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// apt is the host's apt with the host's sources and keys, and a state of its own in which nothing is installed: so a package's whole closure is resolved, and the host's package manager is neither changed nor locked.
type apt struct {
	dir  string
	args []string
}

func newApt(dir string) (*apt, error) {
	for _, sub := range []string{"lists/partial", "archives/partial", "kernel"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	status := filepath.Join(dir, "status")
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, err
	}
	var args []string
	for _, option := range []string{
		"APT::Architecture=amd64",
		"APT::Architectures=amd64",
		"APT::Install-Recommends=false",
		"APT::Sandbox::User=root",
		"Acquire::Languages=none",
		"Acquire::Retries=3",
		"Dir::State=" + dir,
		"Dir::State::status=" + status,
		"Dir::State::lists=" + filepath.Join(dir, "lists"),
		"Dir::Cache=" + dir,
		"Dir::Cache::archives=" + filepath.Join(dir, "archives"),
		"DPkg::Post-Invoke=",
		"APT::Update::Post-Invoke=",
		"APT::Update::Post-Invoke-Success=",
	} {
		args = append(args, "-o", option)
	}
	return &apt{dir: dir, args: args}, nil
}

func (a *apt) command(ctx context.Context, tool string, args ...string) *exec.Cmd {
	cmd := command(ctx, tool, append(append([]string{}, a.args...), args...)...)
	cmd.Dir = a.dir
	return cmd
}

// update fetches the lists. A source that can't be reached is told and no error here: what the guest needs may well be in another.
func (a *apt) update(ctx context.Context, say func(string, ...any)) error {
	cmd := a.command(ctx, "apt-get", "-q", "update")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	for line := range strings.Lines(stderr.String()) {
		say("apt-get update: %s", strings.TrimSpace(line))
	}
	if ctx.Err() != nil {
		return fmt.Errorf("apt-get update: %w", context.Cause(ctx))
	}
	if err != nil {
		say("apt-get update: %v; trying with the lists that it got", err)
	}
	return nil
}

// rootArchives downloads the packages with all that they depend on, and gives their files.
func (a *apt) rootArchives(ctx context.Context, packages []string) ([]string, error) {
	if _, err := run(a.command(ctx, "apt-get", append([]string{"-q", "-y", "--download-only", "install"}, packages...)...)); err != nil {
		return nil, fmt.Errorf("download the root disk's packages: %w", err)
	}
	return archives(filepath.Join(a.dir, "archives"))
}

// kernelArchive downloads the kernel alone: its dependencies are there to make an initramfs on the machine itself.
func (a *apt) kernelArchive(ctx context.Context) (string, error) {
	text, err := run(a.command(ctx, "apt-cache", "depends", kernelPackage))
	if err != nil {
		return "", err
	}
	name, err := kernelIn(string(text))
	if err != nil {
		return "", err
	}
	cmd := a.command(ctx, "apt-get", "-q", "download", name)
	cmd.Dir = filepath.Join(a.dir, "kernel")
	if _, err := run(cmd); err != nil {
		return "", fmt.Errorf("download the kernel: %w", err)
	}
	found, err := archives(cmd.Dir)
	if err != nil {
		return "", err
	}
	return found[0], nil
}

var kernelName = regexp.MustCompile(`(?m)^\s*Depends: (linux-image-\d\S*)$`)

// kernelIn finds the kernel's own package in what apt-cache says kernelPackage depends on.
func kernelIn(depends string) (string, error) {
	match := kernelName.FindStringSubmatch(depends)
	if match == nil {
		return "", fmt.Errorf("apt-cache depends %s names no kernel but says %q: is this machine's apt set up for Debian's packages?", kernelPackage, depends)
	}
	return match[1], nil
}

func archives(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("apt-get left no package in %s", dir)
	}
	return found, nil
}
