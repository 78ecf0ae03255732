package main

import (
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestSeccomp: what the default profile refuses is refused to the app and to what is exec'd into it, as root and as a user, with and
// without no_new_privs, and without a profile it isn't.
func TestSeccomp(t *testing.T) {
	n := commonNode(t)
	for _, c := range []struct {
		name   string
		change func(*cri.LinuxContainerSecurityContext)
		mode   string
	}{
		{"root", func(*cri.LinuxContainerSecurityContext) {}, "2"},
		{"user", func(s *cri.LinuxContainerSecurityContext) { s.RunAsUser = &cri.Int64Value{Value: 1000} }, "2"},
		{"user without new privileges", func(s *cri.LinuxContainerSecurityContext) {
			s.RunAsUser, s.NoNewPrivs = &cri.Int64Value{Value: 1000}, true
		}, "2"},
		{"unconfined", func(s *cri.LinuxContainerSecurityContext) {
			s.Seccomp = &cri.SecurityProfile{ProfileType: cri.SecurityProfile_Unconfined}
		}, "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.t = t
			sandbox := n.sandbox("seccomp-" + strings.ReplaceAll(c.name, " ", "-"))
			pod := n.run(sandbox)
			config := n.like(sandbox, container("app", "sleep", "1000"))
			config.Linux.SecurityContext.Seccomp = &cri.SecurityProfile{ProfileType: cri.SecurityProfile_RuntimeDefault}
			c.change(config.Linux.SecurityContext)
			id := n.startIn(pod, sandbox, config)
			for _, of := range []string{"1", "self"} {
				status, _ := n.exec(id, "cat", "/proc/"+of+"/status")
				if !strings.Contains(status, "\nSeccomp:\t"+c.mode+"\n") {
					t.Errorf("/proc/%s/status has no Seccomp: %s:\n%s", of, c.mode, status)
				}
				if strings.Contains(status, "CapEff:\t0000000000200000") {
					t.Errorf("/proc/%s/status: CAP_SYS_ADMIN was left over:\n%s", of, status)
				}
			}
			out, code := n.exec(id, "unshare", "-U", "true")
			if refused := code != 0; refused != (c.mode == "2") {
				t.Errorf("unshare -U: %d, %s", code, out)
			}
			if _, err := n.RemovePodSandbox(n.ctx(), &cri.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
				t.Fatal(err)
			}
		})
	}
	n.t = t
}
