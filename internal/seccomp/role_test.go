package seccomp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The roles of the test binary: each does on one locked thread what a container's process does on its only one.
const (
	roleCalls  = "calls"  // filter with no_new_privs, then the calls on stdin; their errnos go to stdout
	roleLaunch = "launch" // filter without no_new_privs, as a user, then execve of roleStatus
	roleStatus = "status" // tells /proc/self/status
)

// made is a real system call and what it answered, before the filter and behind it.
type made struct {
	Name          string
	Number        uintptr
	Args          [6]uintptr
	Before        bool // make it without the filter too: it must be harmless
	Plain, Behind unix.Errno
}

// defaultCaps are those of a container that asks for none.
const defaultCaps = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FSETID | 1<<unix.CAP_FOWNER | 1<<unix.CAP_MKNOD |
	1<<unix.CAP_NET_RAW | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETFCAP | 1<<unix.CAP_SETPCAP |
	1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_KILL | 1<<unix.CAP_AUDIT_WRITE

func thisMachine() (Machine, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Machine{}, err
	}
	return ThisMachine(unix.ByteSliceToString(u.Release[:]))
}

func playRole(role string) int {
	runtime.LockOSThread()
	var err error
	switch role {
	case roleCalls:
		err = playCalls()
	case roleLaunch:
		err = playLaunch()
	case roleStatus:
		var status []byte
		status, err = os.ReadFile("/proc/self/status")
		os.Stdout.Write(status)
	default:
		err = fmt.Errorf("role %q is unknown", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		return 1
	}
	return 0
}

// install puts the default filter in force for the calling thread.
func install() error {
	m, err := thisMachine()
	if err != nil {
		return err
	}
	f, err := Default(defaultCaps, m)
	if err != nil {
		return err
	}
	p := unix.SockFprog{Len: uint16(len(f.Program)), Filter: &f.Program[0]}
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(f.Flags), uintptr(unsafe.Pointer(&p))); e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	return nil
}

func (m *made) make() unix.Errno {
	r, _, e := unix.RawSyscall6(m.Number, m.Args[0], m.Args[1], m.Args[2], m.Args[3], m.Args[4], m.Args[5])
	if e == 0 && m.Number&^x32Bit == unix.SYS_SOCKET {
		unix.Close(int(r))
	}
	return e
}

func playCalls() error {
	var calls []made
	if err := json.NewDecoder(os.Stdin).Decode(&calls); err != nil {
		return err
	}
	for i := range calls {
		if calls[i].Before {
			calls[i].Plain = calls[i].make()
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := install(); err != nil {
		return err
	}
	for i := range calls {
		calls[i].Behind = calls[i].make()
	}
	return json.NewEncoder(os.Stdout).Encode(calls)
}

// play runs the test binary in a role.
func play(t *testing.T, role string, in any) []byte {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stdin = strings.NewReader(string(text))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("role %s: %v: %s", role, err, stderr.String())
	}
	return out
}

// The kernel must answer real calls as the profile says (B8, E17, A13).
func TestRealCalls(t *testing.T) {
	null := uintptr(0)
	var calls []made
	for family := range uintptr(64) {
		calls = append(calls, made{Name: fmt.Sprint("socket family ", family), Number: unix.SYS_SOCKET, Args: [6]uintptr{family, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC}, Before: true})
	}
	refused := []made{
		{Name: "socket AF_ALG under a high word", Number: unix.SYS_SOCKET, Args: [6]uintptr{1<<32 | unix.AF_ALG, unix.SOCK_SEQPACKET}},
		{Name: "socket AF_INET under a high word", Number: unix.SYS_SOCKET, Args: [6]uintptr{1<<32 | unix.AF_INET, unix.SOCK_STREAM}},
		{Name: "unshare NEWUSER", Number: unix.SYS_UNSHARE, Args: [6]uintptr{unix.CLONE_NEWUSER}},
		{Name: "unshare NEWCGROUP", Number: unix.SYS_UNSHARE, Args: [6]uintptr{unix.CLONE_NEWCGROUP}},
		{Name: "clone NEWUSER", Number: unix.SYS_CLONE, Args: [6]uintptr{unix.CLONE_NEWUSER | uintptr(unix.SIGCHLD)}},
		{Name: "mount", Number: unix.SYS_MOUNT},
		{Name: "setns", Number: unix.SYS_SETNS, Args: [6]uintptr{^null}},
		{Name: "keyctl", Number: unix.SYS_KEYCTL},
		{Name: "add_key", Number: unix.SYS_ADD_KEY},
		{Name: "request_key", Number: unix.SYS_REQUEST_KEY},
		{Name: "bpf", Number: unix.SYS_BPF},
		{Name: "io_uring_setup", Number: unix.SYS_IO_URING_SETUP},
		{Name: "userfaultfd", Number: unix.SYS_USERFAULTFD},
		{Name: "perf_event_open", Number: unix.SYS_PERF_EVENT_OPEN},
		{Name: "kexec_load", Number: unix.SYS_KEXEC_LOAD},
		{Name: "open_by_handle_at", Number: unix.SYS_OPEN_BY_HANDLE_AT},
		{Name: "personality ADDR_NO_RANDOMIZE", Number: unix.SYS_PERSONALITY, Args: [6]uintptr{0x40000}},
		{Name: "personality under a high word", Number: unix.SYS_PERSONALITY, Args: [6]uintptr{1 << 32}},
	}
	if runtime.GOARCH == "amd64" {
		refused = append(refused, made{Name: "x32 socket AF_ALG", Number: x32Bit | unix.SYS_SOCKET, Args: [6]uintptr{unix.AF_ALG, unix.SOCK_SEQPACKET}})
	}
	missing := []made{
		{Name: "clone3", Number: unix.SYS_CLONE3},
		{Name: "a call of the future", Number: 511},
	}
	allowed := []made{
		{Name: "getpid", Number: unix.SYS_GETPID},
		{Name: "personality asked for", Number: unix.SYS_PERSONALITY, Args: [6]uintptr{0xffffffff}},
		{Name: "chroot to nowhere", Number: unix.SYS_CHROOT, Before: true}, // EFAULT: the default capabilities have SYS_CHROOT
	}
	count := len(calls)
	calls = append(append(append(calls, refused...), missing...), allowed...)
	if err := json.Unmarshal(play(t, roleCalls, calls), &calls); err != nil {
		t.Fatal(err)
	}

	denied := map[uintptr]bool{}
	for _, c := range calls[:count] {
		switch family := c.Args[0]; {
		case c.Behind == unix.EPERM && c.Plain != unix.EPERM:
			denied[family] = true
		case c.Behind != c.Plain:
			t.Errorf("%s: %v without the filter, %v behind it", c.Name, c.Plain, c.Behind)
		}
	}
	machine := host(t)
	profile := librarys(t, defaultCaps)
	for _, c := range calls[:count] {
		want := oracle(profile, machine, call{machines[machine.Arch][0].audit, uint32(c.Number), [6]uint64{uint64(c.Args[0])}})
		if denied[c.Args[0]] != (want != unix.SECCOMP_RET_ALLOW) {
			t.Errorf("%s: refused is %v, the profile says %#x", c.Name, denied[c.Args[0]], want)
		}
	}
	// Whatever the profile's data says one day.
	for _, family := range []uintptr{unix.AF_ALG, unix.AF_VSOCK, 63} {
		if !denied[family] {
			t.Errorf("socket family %d is not refused", family)
		}
	}
	for _, family := range []uintptr{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK, unix.AF_PACKET} {
		if denied[family] {
			t.Errorf("socket family %d is refused", family)
		}
	}
	rest := calls[count:]
	for i, c := range rest {
		want := c.Plain
		switch {
		case i < len(refused):
			want = unix.EPERM
		case i < len(refused)+len(missing):
			want = unix.ENOSYS
		}
		if c.Behind != want {
			t.Errorf("%s: %v, want %v", c.Name, c.Behind, want)
		}
	}
}

// capset sets the thread's capabilities.
func capset(permitted, inheritable uint64) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(permitted), Permitted: uint32(permitted), Inheritable: uint32(inheritable)},
		{Effective: uint32(permitted >> 32), Permitted: uint32(permitted >> 32), Inheritable: uint32(inheritable >> 32)},
	}
	return unix.Capset(&header, &data[0])
}

// playLaunch gives up what a launch gives up, but keeps CAP_SYS_ADMIN outside the bounding set for the filter, and execs.
func playLaunch() error {
	var uid int
	if err := json.NewDecoder(os.Stdin).Decode(&uid); err != nil {
		return err
	}
	for c := range len(capabilities) {
		if defaultCaps>>c&1 == 0 {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
				return fmt.Errorf("drop capability %d: %w", c, err)
			}
		}
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	// A raw call changes this thread alone, which is the one that execs.
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
		return fmt.Errorf("setresuid %d: %w", uid, e)
	}
	if err := capset(defaultCaps|1<<unix.CAP_SYS_ADMIN, 0); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	if err := install(); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", []string{"status"}, []string{roleEnv + "=" + roleStatus})
}

// Without no_new_privs a filter needs CAP_SYS_ADMIN. A process may keep that one to its very last step: execve takes it away, whoever
// the user is, since the bounding set lacks it.
func TestExecveTakesSysAdmin(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a filter without no_new_privs needs CAP_SYS_ADMIN")
	}
	for _, c := range []struct {
		uid       int
		permitted uint64
	}{{0, defaultCaps}, {65534, 0}} {
		status := map[string]string{}
		lines := bufio.NewScanner(strings.NewReader(string(play(t, roleLaunch, c.uid))))
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ":")
			status[name] = strings.TrimSpace(value)
		}
		for name, want := range map[string]string{
			"Seccomp": "2", "NoNewPrivs": "0", "CapPrm": fmt.Sprintf("%016x", c.permitted), "CapEff": fmt.Sprintf("%016x", c.permitted),
			"CapBnd": fmt.Sprintf("%016x", uint64(defaultCaps)), "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
		} {
			if status[name] != want {
				t.Errorf("user %d: %s is %s, want %s", c.uid, name, status[name], want)
			}
		}
	}
}
