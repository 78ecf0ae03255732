package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// hostTool is a program that this needs on the host, and Debian's package that has it.
type hostTool struct{ program, pkg string }

// hostTools are all of them but Go. The guest's own kernel and programs are downloaded, never installed here: see package image.
var hostTools = []hostTool{
	{"apt-get", "apt"},
	{"apt-cache", "apt"},
	{"dpkg-deb", "dpkg"},
	{"tar", "tar"},
	{"mke2fs", "e2fsprogs"},
	{"qemu-system-x86_64", "qemu-system-x86"},
}

// missingPackages are those of the tools that find can't find, each once.
func missingPackages(tools []hostTool, find func(program string) bool) []string {
	var missing []string
	for _, tool := range tools {
		if !find(tool.program) && !slices.Contains(missing, tool.pkg) {
			missing = append(missing, tool.pkg)
		}
	}
	return missing
}

// installHostTools installs what the host lacks, by apt-get.
func installHostTools(ctx context.Context, say func(string, ...any)) error {
	// Root's tools are not in everybody's PATH.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return err
	}
	missing := missingPackages(hostTools, func(program string) bool {
		_, err := exec.LookPath(program)
		return err == nil
	})
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if slices.Contains(missing, "apt") {
		return fmt.Errorf("this needs a Debian machine with apt-get; missing are the packages %s", list)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("packages are missing: as root, run apt-get update && apt-get install --no-install-recommends %s", list)
	}
	say("installing %s", list)
	if err := aptGet(ctx, "update"); err != nil {
		// A source that is down may not be the one that is needed.
		say("%v; trying with the lists that there are", err)
	}
	if err := aptGet(ctx, append([]string{"-y", "--no-install-recommends", "install"}, missing...)...); err != nil {
		return fmt.Errorf("install the missing packages %s: %w", list, err)
	}
	return nil
}

func aptGet(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	said, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said)
	}
	return nil
}
