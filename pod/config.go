package pod

import (
	"log/slog"

	"podlet/internal/image"
)

// Config is what a Runtime is made from.
type Config struct {
	// Root outlives a reboot: records, writable layers. State dies with the boot: it holds pause's sockets, and must not be emptied while pods run.
	// Both are absolute.
	Root, State string
	// CgroupMount is where the cgroup trees are mounted, NetNSDir where network namespaces are pinned.
	CgroupMount, NetNSDir string
	// Durable mounts writable layers without "volatile": a container's exit then waits for the disk.
	Durable bool
	// Network connects pods with a network namespace of their own. Nil: those have lo only, and host ports are refused. Its maker closes it, after the Runtime.
	Network Network
	// Images stays the caller's, who closes it after the Runtime.
	Images *image.Store
	// Log is not nil.
	Log *slog.Logger
}
