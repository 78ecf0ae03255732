package launch

import (
	"fmt"

	"podlet/pod/spec"
	"podlet/pod/tape"
)

// Names of the fds that travel with tapes. FDs are looked up by these names and by those of Volume, Tree and Join.
const (
	FDNurseryRoot = "nursery root" // detached tmpfs, see NurseryDirs
	FDMaskDir     = "mask dir"
	FDMaskFile    = "mask file"

	FDPodRoot = "pod root" // detached tmpfs, see PodDirs
	FDPodShm  = "pod shm"  // detached tmpfs
	FDNetNS   = "netns"    // of a userns pod's helper
	FDIPCNS   = "ipcns"
	FDUTSNS   = "utsns"

	FDRoot     = "root" // the container's overlay
	FDDev      = "dev"
	FDDevPTS   = "devpts"
	FDHostShm  = "host shm"
	FDHostMQ   = "host mqueue"
	FDCgroups  = "cgroup tmpfs"
	FDCgroup2  = "cgroup2 dir" // to clone into
	FDUserNS   = "userns"
	FDPIDNS    = "pidns"     // pidfd of the process whose PID namespace is joined
	FDMember   = "container" // pidfd of the container that is exec'd into
	FDStdin    = "stdin"
	FDStdout   = "stdout"
	FDStderr   = "stderr"
	FDTerminal = "terminal"
	FDGate     = "gate"
	FDReady    = "ready" // podlet reads the other end's end when the tape is so far, or has failed
)

// FDVolume is the name of a volume's mount.
func FDVolume(i int, target string) string { return fmt.Sprintf("volume %d %s", i, target) }

// FDTree is the name of the mount of the container's own cgroup in a tree.
func FDTree(tree string) string { return "cgroup " + tree }

// FDJoin is the name of the tasks file of a v1 tree.
func FDJoin(controllers string) string { return "join " + controllers }

// pathConsole is where a container's terminal shows.
const pathConsole = "/dev/console"

// Paths of pause's own tree; see the package documentation.
const (
	pathContainer = "/container"
	pathMaskDir   = "/mask/dir"
	pathMaskFile  = "/mask/file"
	pathPod       = "/pod"
	pathSelf      = "/pod/proc/self/oom_score_adj"
	pathSysctl    = "/pod/proc/sys/"
)

// podPaths is where the pod's own mounts stand.
var podPaths = map[spec.Source]string{
	spec.SourceSysfs:      "/pod/sys",
	spec.SourceShm:        "/pod/dev/shm",
	spec.SourceMqueue:     "/pod/dev/mqueue",
	spec.SourceHosts:      "/pod/etc/hosts",
	spec.SourceHostname:   "/pod/etc/hostname",
	spec.SourceResolvConf: "/pod/etc/resolv.conf",
}

// OwnPaths are all the absolute paths that a tape may name before its pivot_root.
func OwnPaths() []string {
	paths := []string{"/", pathContainer, pathMaskDir, pathMaskFile, pathPod, pathSelf, pathSysctl, "/pod/proc"}
	for _, p := range podPaths {
		paths = append(paths, p)
	}
	return paths
}

// NurseryDirs and NurseryFiles are the mount points that the nursery's root must have; PodDirs those of a pod's, beside the files of /etc.
var (
	NurseryDirs  = []string{"mask", "mask/dir", "container", "pod"}
	NurseryFiles = []string{"mask/file"}
	PodDirs      = []string{"proc", "sys", "dev", "dev/shm", "dev/mqueue", "etc"}
)

// RootFDs are the names of fds below which paths are the container's, for the linter.
var RootFDs = []string{FDRoot}

// Rules are the linter's rules for a tape of this package.
func Rules() tape.Rules {
	return tape.Rules{RootFDs: RootFDs, OwnPaths: OwnPaths(), MayLinger: []string{FDGate}}
}
