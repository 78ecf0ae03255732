package spec

import (
	"podlet/cgroup"
	"podlet/internal/mount"
)

// Container is a container as the CRI asks for it (ContainerConfig), checked.
type Container struct {
	Name                string
	Attempt             uint32
	Labels, Annotations map[string]string

	// Image is the reference as the user wrote it, ImageID the config digest in hex that it stood for at CreateContainer.
	Image, ImageID string
	// UserImage is what the user wrote in the pod, where Image is an id that the kubelet resolved it to.
	UserImage string
	// ImageRef is a digest reference of the image, as it was at CreateContainer: removing the image's names from the node changes nothing of
	// what a container says it was made from. Empty: the image had none.
	ImageRef string

	// Command replaces the image's entrypoint, Args its arguments; see Arguments.
	Command, Args []string
	WorkingDir    string
	Env           []Var
	User          User

	TTY, Stdin, StdinOnce bool
	// LogPath is relative to the sandbox's log directory; empty: output is thrown away.
	LogPath string
	// StopSignal is the CRI's ContainerConfig.stop_signal as a number; 0: the image's, else SIGTERM.
	StopSignal int

	Mounts  []Mount
	Devices []Device

	Privileged, NoNewPrivs, ReadOnlyRoot bool
	// Seccomp is the profile of the container's processes; privileged ones have none whatever it says.
	Seccomp      SeccompProfile
	Capabilities Capabilities
	// MaskedPaths and ReadOnlyPaths are absolute. The kubelet always sends them; nil (crictl without a list) stands for podlet's
	// own default, an empty list for none. Privileged containers have none.
	MaskedPaths, ReadOnlyPaths []string

	// PID is the container's PID namespace; PIDTarget the id of the container whose namespace it joins.
	PID       PIDMode
	PIDTarget string

	Resources cgroup.Resources
	// OOMScoreAdj is written as it is, -1000 to 1000 (proc_pid_oom_score_adj(5)).
	OOMScoreAdj int
}

// SeccompProfile names a filter of system calls (CRI SecurityProfile).
type SeccompProfile string

// The profiles: no filter, and the default one of package seccomp.
const (
	SeccompUnconfined     SeccompProfile = ""
	SeccompRuntimeDefault SeccompProfile = "runtime/default"
)

// Var is one environment variable.
type Var struct{ Name, Value string }

// PIDMode is NamespaceOption.pid of a container.
type PIDMode string

// The modes; a container's must agree with what its sandbox was made for.
const (
	PIDContainer PIDMode = "container"
	PIDPod       PIDMode = "pod"
	PIDNode      PIDMode = "node"
	PIDTarget    PIDMode = "target"
)

// User is who the process shall be; package image resolves it against the image's own files.
type User struct {
	// UID and GID are run_as_user and run_as_group; nil: not given. Name is run_as_username.
	UID, GID *int64
	Name     string
	// Groups are supplemental groups. Strict leaves out those that the image's /etc/group adds (KEP-3619).
	Groups []int64
	Strict bool
}

// Mount is a bind mount of a host path, or an image volume.
type Mount struct {
	// Source is absolute on the host, empty for an image volume. Target is absolute in the container and clean.
	Source, Target string
	// Image is the reference of the image whose tree is mounted (KEP-4639), UserImage what the user wrote in the pod for it, ImageID
	// the image's id as it was at CreateContainer. ImageSubPath is the part of the tree, relative to its root; empty: all of it.
	Image, UserImage, ImageID, ImageSubPath string
	ReadOnly                                bool
	// RecursiveReadOnly makes submounts read-only as well (KEP-3857).
	RecursiveReadOnly bool
	Propagation       mount.Propagation
	// NoExec, NoSuid and NoDev are the bind mount options that a pod can ask for (KEP-5855), of the mount itself and not of what is mounted below it.
	NoExec, NoSuid, NoDev bool
	// IDMap maps the ids of what is mounted; nil: ids as on disk.
	IDMap *IDMap
}

// Device is a device or a directory of devices of the host.
type Device struct {
	HostPath, ContainerPath string
	// Access is a subset of "rwm".
	Access string
}

// Capabilities are additions to and removals from the default set, as names with or without "CAP_", or "ALL" (CRI Capability).
type Capabilities struct {
	Add, Drop, Ambient []string
}
