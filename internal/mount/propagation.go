package mount

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Propagation is CRI's MountPropagation (mount_namespaces(7)).
type Propagation int

const (
	// Private: no mount event passes ("rprivate", PROPAGATION_PRIVATE).
	Private Propagation = iota
	// HostToContainer: mounts made on the host arrive ("rslave", PROPAGATION_HOST_TO_CONTAINER).
	HostToContainer
	// Bidirectional: mounts made in the container arrive on the host too ("rshared", PROPAGATION_BIDIRECTIONAL).
	Bidirectional
)

func (p Propagation) String() string {
	switch p {
	case HostToContainer:
		return "rslave"
	case Bidirectional:
		return "rshared"
	default:
		return "rprivate"
	}
}

func (p Propagation) flag() uint64 {
	switch p {
	case HostToContainer:
		return unix.MS_SLAVE
	case Bidirectional:
		return unix.MS_SHARED
	default:
		return unix.MS_PRIVATE
	}
}

// PropagationError says that a source's mount doesn't pass events the way a volume asks for.
type PropagationError struct {
	// Source is the volume's path, MountPoint the mount it lies on.
	Source, MountPoint string
	Want               Propagation
}

func (e *PropagationError) Error() string {
	need, fix := "shared", "--make-rshared"
	if e.Want == HostToContainer {
		need = "shared or slave"
	}
	return fmt.Sprintf("propagation %s wants a %s mount, but %s lies on mount point %s, which is private: run mount %s %s", e.Want, need, e.Source, e.MountPoint, fix, e.MountPoint)
}

// checkPropagation: a peer group that the source isn't part of can't be joined later.
func checkPropagation(fd int, source string, want Propagation) error {
	if want == Private {
		return nil
	}
	info, err := mountOf(fd)
	if err != nil {
		return fmt.Errorf("find the mount of %s: %w", source, err)
	}
	if info.shared || want == HostToContainer && info.slave {
		return nil
	}
	return &PropagationError{Source: source, MountPoint: info.point, Want: want}
}

type mountInfo struct {
	point         string
	shared, slave bool
}

// mountOf tells about the mount that fd lies on: statmount(2) of Linux 6.8 takes the same time whatever the number of mounts; before it
// there is only mountinfo.
func mountOf(fd int) (mountInfo, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID_UNIQUE|unix.STATX_MNT_ID, &st)
	if err != nil {
		return mountInfo{}, fmt.Errorf("statx: %w", err)
	}
	if st.Mask&unix.STATX_MNT_ID_UNIQUE != 0 {
		info, err := statmount(st.Mnt_id)
		if !errors.Is(err, unix.ENOSYS) {
			return info, err
		}
		if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
			return mountInfo{}, fmt.Errorf("statx: %w", err)
		}
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return mountInfo{}, &FeatureError{Feature: "statx(STATX_MNT_ID)", Since: "5.8"}
	}
	return searchMountinfo(st.Mnt_id)
}

// struct mnt_id_req and struct statmount of linux/mount.h, the latter with room for one path.
type (
	mntIDReq struct {
		size, spare  uint32
		mntID, param uint64
	}
	statmountBuf struct {
		size, mntOpts                             uint32
		mask                                      uint64
		sbDevMajor, sbDevMinor                    uint32
		sbMagic                                   uint64
		sbFlags, fsType                           uint32
		mntID, mntParentID                        uint64
		mntIDOld, mntParentIDOld                  uint32
		mntAttr, mntPropagation                   uint64
		mntPeerGroup, mntMaster, mntPropagateFrom uint64
		mntRoot, mntPoint                         uint32
		spare                                     [50]uint64
		str                                       [unix.PathMax]byte
	}
)

const (
	statmountMntBasic = 0x2
	statmountMntPoint = 0x10
)

func statmount(id uint64) (mountInfo, error) {
	req := mntIDReq{mntID: id, param: statmountMntBasic | statmountMntPoint}
	req.size = uint32(unsafe.Sizeof(req))
	var buf statmountBuf
	_, _, errno := unix.Syscall6(unix.SYS_STATMOUNT, uintptr(unsafe.Pointer(&req)), uintptr(unsafe.Pointer(&buf)), unsafe.Sizeof(buf), 0, 0, 0)
	if errno != 0 {
		return mountInfo{}, fmt.Errorf("statmount: %w", errno)
	}
	return mountInfo{
		point:  unix.ByteSliceToString(buf.str[min(buf.mntPoint, unix.PathMax-1):]),
		shared: buf.mntPropagation&unix.MS_SHARED != 0,
		slave:  buf.mntPropagation&unix.MS_SLAVE != 0,
	}, nil
}

// searchMountinfo reads proc_pid_mountinfo(5): "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw".
func searchMountinfo(id uint64) (mountInfo, error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return mountInfo{}, err
	}
	defer f.Close()
	prefix := strconv.FormatUint(id, 10) + " "
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), prefix) {
			continue
		}
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 {
			return mountInfo{}, fmt.Errorf("mountinfo: unexpected line %q", lines.Text())
		}
		info := mountInfo{point: unescape(fields[4])}
		for _, tag := range fields[6:] {
			if tag == "-" {
				break
			}
			info.shared = info.shared || strings.HasPrefix(tag, "shared:")
			info.slave = info.slave || strings.HasPrefix(tag, "master:")
		}
		return info, nil
	}
	if err := lines.Err(); err != nil {
		return mountInfo{}, fmt.Errorf("mountinfo: %w", err)
	}
	return mountInfo{}, fmt.Errorf("mountinfo has no mount %d: the source was unmounted meanwhile", id)
}

// unescape undoes the octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
