package image

// kernelPackage is an empty package that depends on the newest kernel of Debian's release for clouds: virtio as modules, AppArmor, no v1 cgroups unless asked for.
const kernelPackage = "linux-image-cloud-amd64"

// rootPackages are the root disk's; what they depend on comes with them.
var rootPackages = []string{
	// The ground: accounts, shell, C library and the tools that scripts take for granted.
	"base-files", "base-passwd", "bash", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip", "libc-bin", "mawk", "sed", "tar",
	// PID 1's shell, and the initramfs' only program.
	"busybox-static",
	// What guest-init calls, and what a person in the guest's shell misses first.
	"kmod", "mount", "util-linux", "procps", "less", "strace",
	// What the tests look at podlet's work with.
	"iproute2", "nftables", "e2fsprogs", "apparmor",
	// CNI plugins, and what the one of host ports needs.
	"containernetworking-plugins", "iptables",
}
