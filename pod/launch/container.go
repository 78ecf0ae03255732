package launch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"podlet/pod/spec"
	"podlet/pod/tape"
)

// Container is everything that a container's tape is made from.
type Container struct {
	// Name is "namespace/pod/container", for messages.
	Name        string
	Process     *spec.Process
	Attachments []spec.Attachment
	// ImageVolumes are the image's VOLUMEs that spec.ImageVolumes gave.
	ImageVolumes []string

	Masked, ReadOnly []string
	ReadOnlyRoot     bool

	// UserNS: the pod has a user namespace. HostIPC: shm is the host's and comes by fd.
	UserNS, HostIPC bool
	PID             spec.PIDMode
	Cgroup          Cgroup
	Machine         *spec.Machine
}

// Cgroup says how a process gets into a cgroup.
type Cgroup struct {
	// Joins are the v1 trees by the names of cgroup.JoinFile, Last the one that the app itself joins, or "".
	Joins []string
	Last  string
	// Unified: there is a cgroup in the v2 tree to clone into.
	Unified bool
}

// NewContainer puts together what a container's tape is made from. volumes tells of each mount whether its source is a file; imageVolumes are spec.ImageVolumes.
func NewContainer(s *spec.Sandbox, c *spec.Container, p *spec.Process, m *spec.Machine, cg Cgroup, volumes []bool, imageVolumes []string) *Container {
	return &Container{
		ImageVolumes: imageVolumes,
		Name:         s.Namespace + "/" + s.Name + "/" + c.Name,
		Process:      p,
		Attachments:  spec.Attachments(s, c, m, volumes),
		Masked:       c.Masked(),
		ReadOnly:     c.ReadOnly(),
		ReadOnlyRoot: c.ReadOnlyRoot,
		UserNS:       s.UserNS != nil,
		HostIPC:      s.HostIPC,
		PID:          c.PID,
		Cgroup:       cg,
		Machine:      m,
	}
}

// CgroupOn is the Cgroup of any container on a machine, for tapes of containers that are not there.
func CgroupOn(m *spec.Machine) Cgroup {
	cg := Cgroup{Unified: m.Unified}
	for _, tree := range m.V1Controllers {
		if slices.Contains(strings.Split(tree, ","), "pids") {
			cg.Last = tree
		} else {
			cg.Joins = append(cg.Joins, tree)
		}
	}
	return cg
}

// builder is one container's tape while it is written.
type builder struct {
	*tape.Builder
	c    *Container
	root tape.FD
	// proc is made before it is mounted.
	proc tape.Reg
	// places are podlet's own file systems in the container by their targets.
	places map[string]*place
	// terminal is the TTY's slave, nil without one.
	terminal tape.Fd
	// own are the clones of the pod's mounts.
	own map[spec.Source]tape.Reg
}

// Tape writes the container's tape.
func (c *Container) Tape() (*tape.Tape, error) {
	b := &builder{Builder: tape.New("container " + c.Name), c: c, own: map[spec.Source]tape.Reg{}}
	b.addPlaces()
	b.intermediate()
	if err := b.app(); err != nil {
		return nil, fmt.Errorf("tape of container %s: %w", c.Name, err)
	}
	return b.Finish()
}

func (b *builder) intermediate() {
	b.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0, "hide from containers")
	joinCgroups(b.Builder, b.c.Cgroup.Joins)
	oomScore(b.Builder, b.c.Process.OOMScoreAdj)
	for _, a := range b.c.Attachments {
		b.cloneOwn(a)
	}
	flags := uint64(unix.CLONE_NEWNS | unix.CLONE_PARENT)
	switch b.c.PID {
	case spec.PIDContainer:
		flags |= unix.CLONE_NEWPID
	case spec.PIDPod:
		join(b.Builder, b.FD(FDPIDNS), unix.CLONE_NEWPID, "join the pod's PID namespace")
	case spec.PIDTarget:
		join(b.Builder, b.FD(FDPIDNS), unix.CLONE_NEWPID, "join the target's PID namespace")
	}
	if b.c.UserNS {
		join(b.Builder, b.FD(FDUserNS), unix.CLONE_NEWUSER, "join the pod's user namespace")
	}
	fork(b.Builder, flags, b.c.Cgroup.Unified, "clone the app")
}

func joinCgroups(b *tape.Builder, joins []string) {
	for _, tree := range joins {
		joinCgroup(b, tree)
	}
}

func joinCgroup(b *tape.Builder, tree string) {
	procs := b.FD(FDJoin(tree))
	b.Write(procs, []byte("0"), "join the cgroup of "+tree)
	b.Close(procs, "")
}

// oomScore can always raise the value. Lowering it needs CAP_SYS_RESOURCE, without which the process keeps podlet's own.
func oomScore(b *tape.Builder, score int) {
	why := "set oom_score_adj"
	f := b.OpenAt2(tape.Cwd, pathSelf, tape.How{Flags: unix.O_WRONLY | unix.O_CLOEXEC}, why)
	b.Write(f, []byte(strconv.Itoa(score)), why).Ignore(unix.EACCES, unix.EPERM)
	b.Close(f, "")
}

func fork(b *tape.Builder, flags uint64, unified bool, why string) {
	clone := tape.Clone{Flags: flags}
	if !unified {
		b.Clone3(clone, why)
		return
	}
	dir := b.FD(FDCgroup2)
	clone.Flags |= unix.CLONE_INTO_CGROUP
	clone.Cgroup = dir
	b.Clone3(clone, why+" into its cgroup")
	b.Close(dir, "")
}

// cloneOwn clones the mount of the pod that a stands for, if it is one.
func (b *builder) cloneOwn(a spec.Attachment) {
	from, ok := podPaths[a.Source]
	if !ok || (b.c.HostIPC && a.Source == spec.SourceShm) {
		return
	}
	m := b.OpenTree(tape.Cwd, from, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, "clone the pod's "+string(a.Source))
	if a.ReadOnly {
		b.readOnly(m, "make "+a.Target+" read-only")
	}
	b.own[a.Source] = m
}

func (b *builder) readOnly(m tape.Fd, why string) {
	b.MountSetattr(m, "", unix.AT_EMPTY_PATH, tape.MountAttr{Set: unix.MOUNT_ATTR_RDONLY}, why)
}

func (b *builder) app() error {
	b.Setsid("a session of its own")
	if b.c.Process.TTY {
		b.terminal = b.FD(FDTerminal)
	}
	if b.c.Cgroup.Last != "" {
		joinCgroup(b.Builder, b.c.Cgroup.Last)
	}
	b.Unshare(unix.CLONE_NEWCGROUP, "a CGROUP namespace of its own")
	b.proc = newMount(b.Builder, "proc", 0)
	if b.c.UserNS {
		mappedRoot(b.Builder)
	}
	b.root = b.FD(FDRoot)
	b.MoveMount(b.root, "", tape.Cwd, pathContainer, unix.MOVE_MOUNT_F_EMPTY_PATH, "mount the root filesystem")
	for _, target := range b.c.ImageVolumes {
		b.imageVolume(target)
	}
	for _, a := range b.c.Attachments {
		if !underProc(a.Target) {
			b.attach(a)
		}
	}
	if b.console() {
		b.attachConsole()
	}
	b.attachProc()
	b.paths()
	b.workingDir()
	if b.c.ReadOnlyRoot {
		b.readOnly(b.root, "make the root filesystem read-only")
	}
	enter(b.Builder, b.root)
	return final(b.Builder, b.c.Process, b.c.Machine, b.terminal, func() {
		gate := b.FD(FDGate)
		// Closed by execve, not here: podlet reads the end of it as the program's start, or the failure to start it.
		b.Read1(gate, "wait for podlet's record").Positive()
	})
}

func underProc(target string) bool { return strings.HasPrefix(target, "/proc/") }

// attach mounts a at its target.
func (b *builder) attach(a spec.Attachment) {
	m := b.source(a)
	why := "mount " + string(a.Source) + " on " + a.Target
	if p, rel := b.placeOf(a.Target); p != nil && b.knows(a) {
		b.attachIn(p, rel, m, why)
	} else {
		at := mountPoint(b.Builder, b.root, a.Target, a.File, inRoot, why)
		b.Attach(m, at, why)
		b.Close(at, "")
	}
	b.stand(a.Target, m)
}

// attachIn mounts m on an entry of a place.
func (b *builder) attachIn(p *place, rel string, m tape.Fd, why string) {
	at := b.OpenAt2(p.fd, rel, tape.How{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: beneath}, why)
	b.Attach(m, at, why)
	b.Close(at, "")
	b.leave(p)
}

func (b *builder) source(a spec.Attachment) tape.Fd {
	if m, ok := b.own[a.Source]; ok {
		return m
	}
	switch a.Source {
	case spec.SourceVolume:
		return b.FD(FDVolume(a.Volume, a.Target))
	case spec.SourceDev:
		return b.FD(FDDev)
	case spec.SourceDevPTS:
		return b.FD(FDDevPTS)
	case spec.SourceShm:
		return b.FD(FDHostShm)
	case spec.SourceCgroupRoot:
		return b.FD(FDCgroups)
	default:
		return b.FD(FDTree(a.Tree))
	}
}

// attachConsole binds the terminal over /dev/console, by its fd: a path in /dev/pts could be exchanged (CVE-2025-52565).
func (b *builder) attachConsole() {
	why := "mount the terminal on " + pathConsole
	m := b.OpenTree(b.terminal, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH, why)
	if p, rel := b.placeOf(pathConsole); p != nil {
		b.attachIn(p, rel, m, why)
	} else {
		at := mountPoint(b.Builder, b.root, pathConsole, true, inRoot, why)
		b.Attach(m, at, why)
		b.Close(at, "")
	}
	b.Close(m, "")
}

// console: the container has a terminal, and no volume stands at its place.
func (b *builder) console() bool {
	return b.c.Process.TTY && !slices.ContainsFunc(b.c.Attachments, func(a spec.Attachment) bool { return a.Target == pathConsole })
}

// attachProc refuses a /proc that is a link (CVE-2019-19921): writes meant for proc must never land elsewhere.
func (b *builder) attachProc() {
	why := "mount proc on /proc"
	at := mountPoint(b.Builder, b.root, "/proc", false, inRoot|unix.RESOLVE_NO_SYMLINKS, why)
	b.Attach(b.proc, at, why)
	b.Close(at, "")
	b.stand("/proc", b.proc)
	for _, a := range b.c.Attachments {
		if !underProc(a.Target) {
			continue
		}
		b.attach(a)
	}
}

// workingDir makes the working directory where it is missing, as other runtimes do.
func (b *builder) workingDir() {
	if b.c.Process.Cwd == "/" {
		return
	}
	b.Close(mountPoint(b.Builder, b.root, b.c.Process.Cwd, false, inRoot, "make working directory "+b.c.Process.Cwd), "")
}
