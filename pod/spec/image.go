package spec

// Image is what an image's config says of a process (OCI image-spec, "config").
type Image struct {
	Entrypoint, Cmd []string
	// Env are "NAME=value" strings; what has no "=" or no name is left out.
	Env        []string
	WorkingDir string
	// StopSignal is a name or number; empty or unknown: SIGTERM.
	StopSignal string
	// Volumes are the image's VOLUMEs, absolute and clean; see ImageVolumes.
	Volumes []string
}

// Identity is a resolved User.
type Identity struct {
	UID, GID uint32
	// Groups are the supplementary groups, GID among them.
	Groups []uint32
	// Home is the home directory in the image's passwd file; empty: "/".
	Home string
}

// Machine is what the kernel and podlet's own privileges allow; it is found out once.
type Machine struct {
	// LastCapability is the highest capability the kernel knows (/proc/sys/kernel/cap_last_cap).
	LastCapability int
	// Capabilities are those podlet can give away, a bit each; what else is asked for can't be given.
	Capabilities uint64
	// MaxOpenFiles is the highest hard RLIMIT_NOFILE that podlet can set.
	MaxOpenFiles uint64
	// V1Controllers are the v1 trees to mount, as cgroup.Hierarchy.V1Mounts names them; Unified says that there is a v2 tree.
	V1Controllers []string
	Unified       bool
	// Kernel is the kernel's release (uname(2)): what the default seccomp profile allows depends on it.
	Kernel string
	// AppArmor says that the kernel confines by AppArmor.
	AppArmor bool
}
