package pod

import (
	"log/slog"

	"podlet/internal/image"
)

// Config is what a Runtime is made from.
type Config struct {
	// Root outlives a reboot: records, writable layers. State dies with the boot: sockets. Both absolute.
	Root, State string
	// CgroupMount is where the cgroup trees are mounted, NetNSDir where network namespaces are pinned.
	CgroupMount, NetNSDir string
	// Durable mounts writable layers without "volatile": a container's exit then waits for the disk.
	Durable bool
	Images  *image.Store
	Log     *slog.Logger
}
