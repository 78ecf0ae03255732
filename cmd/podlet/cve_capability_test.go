package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestCVE_B9: no process has an inheritable capability that wasn't asked for (CVE-2022-24769, CVE-2022-29162, CVE-2022-27650, CVE-2022-27652).
func TestCVE_B9(t *testing.T) {
	n := hostileNode(t)
	sandbox := n.sandbox("caps", func(c *cri.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	pod := n.run(sandbox)
	for i, change := range []func(*cri.ContainerConfig, *cri.LinuxContainerSecurityContext){
		func(c *cri.ContainerConfig, s *cri.LinuxContainerSecurityContext) {},
		func(c *cri.ContainerConfig, s *cri.LinuxContainerSecurityContext) { c.Tty = true },
		func(c *cri.ContainerConfig, s *cri.LinuxContainerSecurityContext) { s.Privileged = true },
		func(c *cri.ContainerConfig, s *cri.LinuxContainerSecurityContext) {
			s.RunAsUser = &cri.Int64Value{Value: 1000}
		},
		func(c *cri.ContainerConfig, s *cri.LinuxContainerSecurityContext) {
			s.RunAsUser, s.Capabilities = &cri.Int64Value{Value: 1000}, &cri.Capability{AddCapabilities: []string{"ALL"}}
		},
	} {
		c := container(fmt.Sprint("c", i), "sleep", "1000")
		c.Linux = &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{}}
		change(c, c.Linux.SecurityContext)
		id := n.startIn(pod, sandbox, n.like(sandbox, c))
		proc := fmt.Sprintf("/proc/%d/", n.seenContainer(id).PID)
		// In the middle of its execve, which is when a start is over, a process has the old capabilities still, and no arguments.
		n.soon("the program runs", func() bool {
			line, err := os.ReadFile(proc + "cmdline")
			return err == nil && string(line) == "sleep\x001000\x00"
		})
		own, err := os.ReadFile(proc + "status")
		if err != nil {
			t.Fatal(err)
		}
		command, _ := n.exec(id, "cat", "/proc/self/status")
		for who, text := range map[string]string{"program": string(own), "command": command} {
			for _, set := range []string{"CapInh", "CapAmb"} {
				if !strings.Contains(text, set+":\t0000000000000000\n") {
					t.Errorf("%d: %s of a %s: %s", i, set, who, text)
				}
			}
			if uid := c.Linux.SecurityContext.RunAsUser; uid != nil && !strings.Contains(text, "CapEff:\t0000000000000000\n") {
				t.Errorf("%d: a %s of user 1000 has capabilities: %s", i, who, text)
			}
		}
	}
}

// TestCVE_B9WithoutDefence shows that the test would notice inheritable capabilities.
func TestCVE_B9WithoutDefence(t *testing.T) {
	t.Setenv(withoutDefence, "inheritable")
	n := hostileNode(t)
	sandbox := n.sandbox("caps")
	pod := n.run(sandbox)
	if out, _ := n.output(pod, sandbox, container("app", "cat", "/proc/self/status")); !strings.Contains(out, "CapInh:\t") || strings.Contains(out, "CapInh:\t0000000000000000\n") {
		t.Errorf("the capabilities were made inheritable, and the test would not notice: %s", out)
	}
}
