package main

import (
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// TestDanglingLinks: an image's /etc/resolv.conf is a link to what only a booted machine has, as in Ubuntu's root filesystems.
func TestDanglingLinks(t *testing.T) {
	for name, target := range map[string]string{"relative": "../run/systemd/resolve/stub-resolv.conf", "absolute": "/run/not/there"} {
		t.Run(name, func(t *testing.T) {
			image := hostile(t, "dangling-"+name, testimage.NewTree().Symlink("etc/resolv.conf", target))
			n := hostileNode(t, image)
			sandbox := n.sandbox("dangling", func(c *cri.PodSandboxConfig) { c.DnsConfig = &cri.DNSConfig{Servers: []string{"192.0.2.53"}} })
			pod := n.run(sandbox)
			config := n.like(sandbox, container("app", "sleep", "1000"))
			config.Image.Image = image.Names[0]
			id := n.startIn(pod, sandbox, config)
			if out, code := n.exec(id, "cat", "/etc/resolv.conf"); code != 0 || !strings.Contains(out, "192.0.2.53") {
				t.Errorf("/etc/resolv.conf: %d, %q", code, out)
			}
		})
	}
}
