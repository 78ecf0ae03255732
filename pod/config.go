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
	// Network connects pods with a network namespace of their own. Nil: those have lo only, and host ports are refused. The caller closes it after the Runtime.
	Network Network
	Images  *image.Store
	Log     *slog.Logger
}
