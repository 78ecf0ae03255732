package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestMountOptions: noexec, nosuid and nodev of volumes and image volumes (KEP-5855), of each mount alone, also in a pod with a user namespace, are what the mount has and what the
// status says; kubelets are told that podlet can.
func TestMountOptions(t *testing.T) {
	n := commonNode(t)
	status, err := n.Status(n.ctx(), &cri.StatusRequest{})
	if err != nil || !status.Features.GetMountOptions() {
		t.Errorf("status: %v, %v", status.GetFeatures(), err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\necho runs\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	all := []string{"noexec", "nosuid", "nodev"}
	for _, p := range []*testPod{n.newPod(), n.newPod(sharing(userNS))} {
		for i, options := range [][]string{nil, {"noexec"}, {"nodev", "nosuid"}, all, {"noexec", "noexec"}} {
			config := n.like(p.config, container(fmt.Sprint("app", i), "sh", "-c",
				"exec 2>/dev/null; /v/script || echo refused; /i/bin/busybox echo runs || echo refused; /plain/script; grep -E ' /(v|i|plain|file) ' /proc/self/mountinfo | cut -d' ' -f5,6"))
			config.Mounts = []*cri.Mount{
				{HostPath: dir, ContainerPath: "/v", MountOptions: options},
				{HostPath: dir, ContainerPath: "/plain"},
				{HostPath: dir + "/script", ContainerPath: "/file", MountOptions: options},
				{Image: &cri.ImageSpec{Image: tools}, ContainerPath: "/i", Readonly: true, MountOptions: options},
			}
			id := p.start(config)
			s := n.exited(id)
			lines := strings.Split(strings.TrimSpace(n.logged(id)), "\n")
			runs := "runs"
			if slices.Contains(options, "noexec") {
				runs = "refused"
			}
			if len(lines) != 7 || lines[0] != runs || lines[1] != runs || lines[2] != "runs" {
				t.Errorf("%q: %q", options, lines)
				continue
			}
			for _, line := range lines[3:] {
				target, has, _ := strings.Cut(line, " ")
				for _, o := range all {
					// What the node's own mount has, the volume has in any case.
					want := slices.Contains(options, o) && target != "/plain"
					if got := slices.Contains(strings.Split(has, ","), o); got != want && (want || target == "/i") {
						t.Errorf("%q: %s has %s", options, target, has)
					}
				}
			}
			for _, m := range s.Mounts {
				for _, o := range all {
					if got, want := slices.Contains(m.MountOptions, o), slices.Contains(options, o) && m.ContainerPath != "/plain"; got != want {
						t.Errorf("%q: the status of %s says %q", options, m.ContainerPath, m.MountOptions)
					}
				}
			}
		}
	}
}
