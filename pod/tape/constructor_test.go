package tape

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// constructor is a call of one and the line that it reads as.
type constructor struct {
	name string
	call func(b *Builder, f FD)
	want string
}

// reg is a register to use in the table; its step comes first.
func reg(b *Builder) Reg {
	return b.OpenAt2(Cwd, "/r", How{Flags: unix.O_PATH}, "")
}

var ifreq = func() []byte {
	p := make([]byte, ifreqSize)
	copy(p, "lo")
	binary.LittleEndian.PutUint16(p[unix.IFNAMSIZ:], unix.IFF_UP|unix.IFF_RUNNING)
	return p
}()

// constructors has every constructor at least once.
var constructors = []constructor{
	{"Setns", func(b *Builder, f FD) { b.Setns(f, unix.CLONE_NEWNET, "") }, `setns(<f>, CLONE_NEWNET)`},
	{"Setns", func(b *Builder, f FD) { b.Setns(f, unix.CLONE_NEWNS|unix.CLONE_NEWPID, "") }, `setns(<f>, CLONE_NEWNS|CLONE_NEWPID)`},
	{"Unshare", func(b *Builder, f FD) { b.Unshare(unix.CLONE_NEWCGROUP, "") }, `unshare(CLONE_NEWCGROUP)`},
	{"Clone3", func(b *Builder, f FD) { b.Clone3(Clone{Flags: unix.CLONE_NEWPID | unix.CLONE_PARENT, Cgroup: f}, "") },
		`clone3({flags=CLONE_PARENT|CLONE_NEWPID|CLONE_INTO_CGROUP, cgroup=<f>}) = the child plays on`},
	{"Clone3", func(b *Builder, f FD) { b.Clone3(Clone{ExitSignal: uint64(unix.SIGCHLD)}, "") },
		`clone3({flags=0, exit_signal=SIGCHLD}) = the child plays on`},
	{"Sethostname", func(b *Builder, f FD) { b.Sethostname("web-0", "") }, `sethostname("web-0")`},
	{"Setdomainname", func(b *Builder, f FD) { b.Setdomainname("example", "") }, `setdomainname("example")`},
	{"OpenTree", func(b *Builder, f FD) { b.OpenTree(Cwd, "/dev/shm", unix.OPEN_TREE_CLONE, "") },
		`open_tree(AT_FDCWD, "/dev/shm", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = [copy of /dev/shm]`},
	{"OpenTree", func(b *Builder, f FD) { b.OpenTree(f, "", 0, "") }, `open_tree(<f>, "", OPEN_TREE_CLOEXEC|AT_EMPTY_PATH) = [f]`},
	{"MoveMount", func(b *Builder, f FD) { b.MoveMount(f, "", Cwd, "/container", unix.MOVE_MOUNT_F_EMPTY_PATH, "") },
		`move_mount(<f>, "", AT_FDCWD, "/container", MOVE_MOUNT_F_EMPTY_PATH)`},
	{"Attach", func(b *Builder, f FD) { b.Attach(f, reg(b), "") },
		`move_mount(<f>, "", [/r], "", MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH)`},
	{"MountSetattr", func(b *Builder, f FD) {
		b.MountSetattr(Cwd, "/", unix.AT_RECURSIVE, MountAttr{Propagation: unix.MS_SLAVE}, "")
	}, `mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, {propagation=MS_SLAVE})`},
	{"MountSetattr", func(b *Builder, f FD) {
		b.MountSetattr(reg(b), "", 0, MountAttr{Set: unix.MOUNT_ATTR_RDONLY, Clr: unix.MOUNT_ATTR_NOEXEC, UserNS: f}, "")
	}, `mount_setattr([/r], "", AT_EMPTY_PATH, {set=MOUNT_ATTR_RDONLY|MOUNT_ATTR_IDMAP, clr=MOUNT_ATTR_NOEXEC, userns=<f>})`},
	{"Mount", func(b *Builder, f FD) { b.Mount("tmpfs", "/x", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0555", "") },
		`mount("tmpfs", "/x", "tmpfs", MS_NOSUID|MS_NODEV, "mode=0555")`},
	{"Mount", func(b *Builder, f FD) { b.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "", "") },
		`mount(NULL, "/", NULL, MS_REC|MS_PRIVATE)`},
	{"PivotRoot", func(b *Builder, f FD) { b.PivotRoot(".", ".", "") }, `pivot_root(".", ".")`},
	{"Umount2", func(b *Builder, f FD) { b.Umount2(".", unix.MNT_DETACH, "") }, `umount2(".", MNT_DETACH)`},
	{"FSOpen", func(b *Builder, f FD) { b.FSOpen("proc", "") }, `fsopen("proc", FSOPEN_CLOEXEC) = [proc context]`},
	{"FSConfigString", func(b *Builder, f FD) { b.FSConfigString(f, "hidepid", "invisible", "") },
		`fsconfig(<f>, FSCONFIG_SET_STRING, "hidepid", "invisible")`},
	{"FSConfigFlag", func(b *Builder, f FD) { b.FSConfigFlag(f, "newinstance", "") }, `fsconfig(<f>, FSCONFIG_SET_FLAG, "newinstance")`},
	{"FSConfigFD", func(b *Builder, f FD) { b.FSConfigFD(reg(b), "lowerdir+", f, "") },
		`fsconfig([/r], FSCONFIG_SET_FD, "lowerdir+", NULL, <f>)`},
	{"FSConfigCreate", func(b *Builder, f FD) { b.FSConfigCreate(f, "") }, `fsconfig(<f>, FSCONFIG_CMD_CREATE)`},
	{"FSMount", func(b *Builder, f FD) {
		b.FSMount(b.FSOpen("proc", ""), unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, "")
	},
		`fsmount([proc context], FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV) = [proc]`},
	{"OpenAt2", func(b *Builder, f FD) {
		b.OpenAt2(f, "/proc", How{Flags: unix.O_PATH | unix.O_DIRECTORY, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}, "")
	}, `openat2(<f>, "/proc", {flags=O_PATH|O_DIRECTORY|O_CLOEXEC, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}) = [f/proc]`},
	{"OpenAt2", func(b *Builder, f FD) {
		b.OpenAt2(Cwd, "/x", How{Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL, Mode: 0o600}, "")
	}, `openat2(AT_FDCWD, "/x", {flags=O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, mode=0600}) = [/x]`},
	{"Close", func(b *Builder, f FD) { b.Close(f, "") }, `close(<f>)`},
	{"Close", func(b *Builder, f FD) { b.Close(reg(b), "") }, `close([/r])`},
	{"CloseRange", func(b *Builder, f FD) { b.CloseRange(3, ^uint32(0), unix.CLOSE_RANGE_CLOEXEC, "") },
		`close_range(3, ~0, CLOSE_RANGE_CLOEXEC)`},
	{"Dup3", func(b *Builder, f FD) { b.Dup3(f, 1, 0, "") }, `dup3(<f>, 1, 0)`},
	{"Write", func(b *Builder, f FD) { b.Write(f, []byte("-997"), "") }, `write(<f>, "-997")`},
	{"Write", func(b *Builder, f FD) { b.Write(f, bytes.Repeat([]byte("a"), 300), "") },
		`write(<f>, "` + strings.Repeat("a", mostBytes) + `"... /* 300 bytes */)`},
	{"Read1", func(b *Builder, f FD) { b.Read1(f, "").Positive() }, `read(<f>, scratch, 1) > 0`},
	{"Chdir", func(b *Builder, f FD) { b.Chdir("/srv", "") }, `chdir("/srv")`},
	{"Fchdir", func(b *Builder, f FD) { b.Fchdir(f, "") }, `fchdir(<f>)`},
	{"Mkdirat", func(b *Builder, f FD) { b.Mkdirat(f, "proc", 0o555, "").Ignore(unix.EEXIST) }, `mkdirat(<f>, "proc", 0555) or EEXIST`},
	{"Mknodat", func(b *Builder, f FD) { b.Mknodat(f, "null", unix.S_IFCHR|0o666, unix.Mkdev(1, 3), "") },
		`mknodat(<f>, "null", S_IFCHR|0666, makedev(1, 3))`},
	{"Mknodat", func(b *Builder, f FD) { b.Mknodat(f, "hosts", unix.S_IFREG|0o644, 0, "") }, `mknodat(<f>, "hosts", S_IFREG|0644, 0)`},
	{"Symlinkat", func(b *Builder, f FD) { b.Symlinkat("/proc/self/fd", f, "fd", "") }, `symlinkat("/proc/self/fd", <f>, "fd")`},
	{"Fchownat", func(b *Builder, f FD) { b.Fchownat(f, "", 1000, -1, 0, "") }, `fchownat(<f>, "", 1000, -1, AT_EMPTY_PATH)`},
	{"Fchmod", func(b *Builder, f FD) { b.Fchmod(f, 0o755, "") }, `fchmod(<f>, 0755)`},
	{"Ioctl", func(b *Builder, f FD) { b.Ioctl(Num(0), unix.TIOCSCTTY, 0, "") }, `ioctl(0, TIOCSCTTY, 0)`},
	{"IoctlBuf", func(b *Builder, f FD) {
		b.IoctlBuf(b.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0, ""), unix.SIOCSIFFLAGS, ifreq, "")
	},
		`ioctl([socket], SIOCSIFFLAGS, {ifr_name="lo", ifr_flags=IFF_UP|IFF_RUNNING})`},
	{"Socket", func(b *Builder, f FD) { b.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0, "") },
		`socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, 0) = [socket]`},
	{"Setgroups", func(b *Builder, f FD) { b.Setgroups([]uint32{1000, 4294967294}, "") }, `setgroups([1000, 4294967294])`},
	{"Setgroups", func(b *Builder, f FD) { b.Setgroups(nil, "") }, `setgroups([])`},
	{"Setresuid", func(b *Builder, f FD) { b.Setresuid(1000, "") }, `setresuid(1000, 1000, 1000)`},
	{"Setresgid", func(b *Builder, f FD) { b.Setresgid(0, "") }, `setresgid(0, 0, 0)`},
	{"Capset", func(b *Builder, f FD) { b.Capset(1|1<<40, 1|1<<40, 1<<10, "") },
		`capset({self}, {effective=permitted=CAP_CHOWN|CAP_CHECKPOINT_RESTORE, inheritable=CAP_NET_BIND_SERVICE})`},
	{"Capset", func(b *Builder, f FD) { b.Capset(0, 1<<41-1, (1<<41-1)&^(1<<21), "") },
		`capset({self}, {effective=0, permitted=all, inheritable=all but CAP_SYS_ADMIN})`},
	{"CapAmbientRaise", func(b *Builder, f FD) { b.CapAmbientRaise(10, "") },
		`prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE)`},
	{"CapBsetDrop", func(b *Builder, f FD) { b.CapBsetDrop(21, "") }, `prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN)`},
	{"CapBsetDrop", func(b *Builder, f FD) { b.CapBsetDrop(63, "") }, `prctl(PR_CAPBSET_DROP, CAP_63)`},
	{"KeyctlJoinSession", func(b *Builder, f FD) { b.KeyctlJoinSession("", "") }, `keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)`},
	{"KeyctlJoinSession", func(b *Builder, f FD) { b.KeyctlJoinSession("_ses.1", "") }, `keyctl(KEYCTL_JOIN_SESSION_KEYRING, "_ses.1")`},
	{"Seccomp", func(b *Builder, f FD) { b.Seccomp(unix.SECCOMP_FILTER_FLAG_LOG, allowAll, "") },
		`seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, {len=1})`},
	{"Prctl", func(b *Builder, f FD) { b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "") }, `prctl(PR_SET_DUMPABLE, 0)`},
	{"Prctl", func(b *Builder, f FD) { b.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, "") }, `prctl(PR_SET_NO_NEW_PRIVS, 1)`},
	{"Prctl", func(b *Builder, f FD) { b.Prctl(unix.PR_SET_PDEATHSIG, 9, 0, 0, 0, "") }, `prctl(PR_SET_PDEATHSIG, SIGKILL)`},
	{"Setsid", func(b *Builder, f FD) { b.Setsid("") }, `setsid()`},
	{"Prlimit", func(b *Builder, f FD) { b.Prlimit(unix.RLIMIT_NOFILE, 1024, ^uint64(0), "") },
		`prlimit64(0, RLIMIT_NOFILE, {cur=1024, max=RLIM_INFINITY})`},
	{"Umask", func(b *Builder, f FD) { b.Umask(0o22, "") }, `umask(022)`},
	{"Personality", func(b *Builder, f FD) { b.Personality(0, "") }, `personality(PER_LINUX)`},
	{"RtSigprocmask", func(b *Builder, f FD) { b.RtSigprocmask(0, "") }, `rt_sigprocmask(SIG_SETMASK, [], NULL, 8)`},
	{"RtSigprocmask", func(b *Builder, f FD) { b.RtSigprocmask(1<<16|1<<14, "") }, `rt_sigprocmask(SIG_SETMASK, [SIGTERM SIGCHLD], NULL, 8)`},
	{"RtSigactionDefault", func(b *Builder, f FD) { b.RtSigactionDefault(unix.SIGPIPE, "") }, `rt_sigaction(SIGPIPE, SIG_DFL, NULL, 8)`},
	{"SchedSetaffinity", func(b *Builder, f FD) { b.SchedSetaffinity([]uint64{0b1101, 1}, "") }, `sched_setaffinity(0, {cpus=0,2-3,64})`},
	{"Setpriority", func(b *Builder, f FD) { b.Setpriority(-5, "") }, `setpriority(PRIO_PROCESS, 0, -5)`},
	{"SchedSetscheduler", func(b *Builder, f FD) { b.SchedSetscheduler(unix.SCHED_NORMAL, 0, "") },
		`sched_setscheduler(0, SCHED_NORMAL, {sched_priority=0})`},
	{"IoprioSet", func(b *Builder, f FD) { b.IoprioSet(2, 4, "") }, `ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_BE|4)`},
	{"SetMempolicyDefault", func(b *Builder, f FD) { b.SetMempolicyDefault("") }, `set_mempolicy(MPOL_DEFAULT, NULL, 0)`},
	{"Execve", func(b *Builder, f FD) {
		b.Execve("/bin/sh", []string{"sh", "-c", "a b"}, []string{"A=1", "B=2"}, "").Ignore(unix.ENOENT).Try()
	},
		`execve("/bin/sh", ["sh", "-c", "a b"], /* 2 vars */) or ENOENT (a try)`},
	{"Execve", func(b *Builder, f FD) { b.Execve("/bin/true", []string{""}, nil, "") }, `execve("/bin/true", [""], /* 0 vars */)`},
}

var allowAll = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}

// tape is the tape of one table row: one passed fd, and the row's step last.
func (c constructor) tape(t *testing.T) *Tape {
	t.Helper()
	b := New("table")
	c.call(b, b.FD("f"))
	return finish(t, b)
}

func finish(t testing.TB, b *Builder) *Tape {
	t.Helper()
	tp, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return tp
}

func encode(t testing.TB, tp *Tape) []byte {
	t.Helper()
	p, err := tp.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func explain(t testing.TB, tp *Tape, o ExplainOptions) string {
	t.Helper()
	var b strings.Builder
	if err := tp.Explain(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestConstructors(t *testing.T) {
	for _, c := range constructors {
		tp := c.tape(t)
		if got := tp.Step(tp.Len() - 1).String(); got != c.want {
			t.Errorf("%s reads\n %s, want\n %s", c.name, got, c.want)
		}
	}
}

// TestConstructorsHaveRows fails for a constructor without a row in the table.
func TestConstructorsHaveRows(t *testing.T) {
	others := []string{"FD", "Finish", "Into", "Last", "Unless"}
	builder := reflect.TypeFor[*Builder]()
	for i := range builder.NumMethod() {
		name := builder.Method(i).Name
		if slices.Contains(others, name) {
			continue
		}
		if !slices.ContainsFunc(constructors, func(c constructor) bool { return c.name == name }) {
			t.Errorf("%s has no row", name)
		}
	}
	used := map[uint16]bool{}
	for _, c := range constructors {
		tp := c.tape(t)
		used[tp.steps[tp.Len()-1].nr] = true
	}
	for nr, c := range calls {
		if !used[nr] {
			t.Errorf("%s has a text, but no constructor makes it", c.name)
		}
	}
}

// TestBytesToTextToBytes: what is decoded encodes to the same bytes and reads the same, but for what isn't on the wire.
func TestBytesToTextToBytes(t *testing.T) {
	for _, c := range constructors {
		tp := c.tape(t)
		p := encode(t, tp)
		again, err := Decode(p)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !bytes.Equal(encode(t, again), p) {
			t.Errorf("%s: decoded and encoded it is another tape", c.name)
		}
		want := strings.ReplaceAll(explain(t, tp, ExplainOptions{Env: true}), "<f>", "<fd0>")
		want = strings.ReplaceAll(want, "[f", "[fd0")
		want = strings.Replace(want, "table:", "tape:", 1)
		if got := explain(t, again, ExplainOptions{Env: true}); got != want {
			t.Errorf("%s: decoded it reads\n%s, want\n%s", c.name, got, want)
		}
	}
}
