package tape

import (
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// pathArg says where a call has a path: the argument, and that of the directory it starts at, -1: the working directory.
type pathArg struct{ dir, path int }

var pathArgs = map[uint16][]pathArg{
	unix.SYS_OPENAT2:       {{0, 1}},
	unix.SYS_OPEN_TREE:     {{0, 1}},
	unix.SYS_MOVE_MOUNT:    {{0, 1}, {2, 3}},
	unix.SYS_MOUNT_SETATTR: {{0, 1}},
	unix.SYS_MOUNT:         {{-1, 0}, {-1, 1}},
	unix.SYS_PIVOT_ROOT:    {{-1, 0}, {-1, 1}},
	unix.SYS_UMOUNT2:       {{-1, 0}},
	unix.SYS_CHDIR:         {{-1, 0}},
	unix.SYS_MKDIRAT:       {{0, 1}},
	unix.SYS_MKNODAT:       {{0, 1}},
	unix.SYS_SYMLINKAT:     {{1, 2}},
	unix.SYS_FCHOWNAT:      {{0, 1}},
	unix.SYS_EXECVE:        {{-1, 0}},

	// These have strings that are no paths.
	unix.SYS_FSOPEN:        {},
	unix.SYS_SETHOSTNAME:   {},
	unix.SYS_SETDOMAINNAME: {},
	unix.SYS_KEYCTL:        {},
}

// pathsOf are the paths of a step. Any string of a call that isn't known may be one.
func pathsOf(p *printer, s *step) []pathArg {
	if s.nr == unix.SYS_FSCONFIG {
		// A value that looks like a path is one: lowerdir, source.
		if s.args[1] == imm(unix.FSCONFIG_SET_PATH) {
			return []pathArg{{4, 3}}
		}
		if strings.HasPrefix(p.text(s.args[3]), "/") {
			return []pathArg{{-1, 3}}
		}
		return nil
	}
	known, ok := pathArgs[s.nr]
	if s.nr == unix.SYS_MOUNT && !strings.HasPrefix(p.text(s.args[0]), "/") && s.args[3].value&(unix.MS_BIND|unix.MS_MOVE) == 0 {
		return known[1:] // the source is a mere word
	}
	if ok {
		return known
	}
	var all []pathArg
	for k, a := range s.args {
		if a.kind == argStr {
			all = append(all, pathArg{-1, k})
		}
	}
	return all
}

// pathWalk is the state of the path rules.
type pathWalk struct {
	*linter
	p *printer
	// inside is true once the process has the container's root for its own.
	inside bool
	// root says which registers hold something of a root.
	root [registers]bool
	// rootCwd is true while the working directory is in a root.
	rootCwd bool
}

// paths checks every path of the tape.
func (l *linter) paths() {
	w := &pathWalk{linter: l, p: newPrinter(l.t, ExplainOptions{})}
	depth := depths(l.t.steps)
	for i := range l.t.steps {
		s := &l.t.steps[i]
		for _, a := range pathsOf(w.p, s) {
			if s.args[a.path].kind == argStr {
				w.path(i, s, a)
			}
		}
		w.follow(s, depth[i] > 0)
	}
}

// follow keeps the state.
func (w *pathWalk) follow(s *step, maybe bool) {
	switch {
	case s.nr == unix.SYS_PIVOT_ROOT:
		w.inside = true
	case s.nr == unix.SYS_SETNS && s.args[1].kind == argImm && s.args[1].value&unix.CLONE_NEWNS != 0:
		w.inside = true
	case s.nr == unix.SYS_FCHDIR:
		w.rootCwd = w.isRoot(s.args[0])
	case s.nr == unix.SYS_CHDIR && strings.HasPrefix(w.p.text(s.args[0]), "/"):
		w.rootCwd = false
	}
	if s.dst < 0 {
		return
	}
	opens := s.nr == unix.SYS_OPENAT2 || s.nr == unix.SYS_OPEN_TREE
	root := opens && w.isRoot(s.args[0])
	if maybe || s.ignoresAny() {
		root = root || w.root[s.dst]
	}
	w.root[s.dst] = root
}

// isRoot reports whether a directory argument is of a root.
func (w *pathWalk) isRoot(a argument) bool {
	switch a.kind {
	case argFD:
		return slices.Contains(w.r.RootFDs, w.t.fds[a.value])
	case argReg:
		return w.root[a.value]
	default:
		return w.rootCwd && int32(a.value) == unix.AT_FDCWD
	}
}

func (w *pathWalk) path(i int, s *step, a pathArg) {
	text := w.p.text(s.args[a.path])
	dir := argument{argImm, uint64(int64(unix.AT_FDCWD) & 0xffffffff)}
	if a.dir >= 0 {
		dir = s.args[a.dir]
	}
	if text == "" || text == "." {
		return // the directory itself: nothing is walked
	}
	inRoot := s.nr == unix.SYS_OPENAT2 && w.confined(s)
	// A leading slash makes the directory of no account, but for openat2 with RESOLVE_IN_ROOT.
	root := w.isRoot(dir) && (inRoot || !strings.HasPrefix(text, "/"))
	if root && !inRoot && w.follows(s, a) {
		w.find(RuleFollow, i, "%q is below a root, and the call follows a symbolic link there", text)
	}
	if w.inside {
		return
	}
	switch {
	case root && !inRoot && !w.makesName(s, text):
		w.find(RuleRootPath, i, "%q is below a root: only openat2 with RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS may walk it before the pivot", text)
	case root || inRoot && dir.kind != argImm:
	case strings.HasPrefix(text, "/") || dir.kind == argImm:
		if !w.own(text) {
			w.find(RuleOwnPath, i, "%q isn't one of pause's own paths, and the pivot is still to come", text)
		}
	}
}

// confined reports whether an openat2 can't leave the directory it starts at.
func (w *pathWalk) confined(s *step) bool {
	b := w.p.bytes(s.args[2])
	if len(b) != openHowSize {
		return false
	}
	const (
		inRoot  = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
		beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
	)
	resolve := u64(b, 2)
	return resolve&inRoot == inRoot || resolve&beneath == beneath
}

// follows reports whether a call follows a symbolic link at the end of its path.
func (w *pathWalk) follows(s *step, a pathArg) bool {
	lacks := func(arg int, flag uint64) bool { return s.args[arg].value&flag == 0 }
	switch s.nr {
	case unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_SYMLINKAT:
		return false
	case unix.SYS_MOVE_MOUNT:
		flag := uint64(unix.MOVE_MOUNT_F_SYMLINKS)
		if a.dir == 2 {
			flag = unix.MOVE_MOUNT_T_SYMLINKS
		}
		return !lacks(4, flag)
	case unix.SYS_OPEN_TREE, unix.SYS_MOUNT_SETATTR:
		return lacks(2, unix.AT_SYMLINK_NOFOLLOW)
	case unix.SYS_FCHOWNAT:
		return lacks(4, unix.AT_SYMLINK_NOFOLLOW)
	case unix.SYS_UMOUNT2:
		return lacks(1, unix.UMOUNT_NOFOLLOW)
	case unix.SYS_OPENAT2:
		b := w.p.bytes(s.args[2])
		return len(b) != openHowSize || u64(b, 0)&unix.O_NOFOLLOW == 0
	default:
		return true
	}
}

// makesName reports whether a call works on a single name and follows no link there.
func (w *pathWalk) makesName(s *step, name string) bool {
	if strings.Contains(name, "/") || name == ".." {
		return false
	}
	switch s.nr {
	case unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_SYMLINKAT:
		return true
	case unix.SYS_FCHOWNAT:
		return s.args[4].value&unix.AT_SYMLINK_NOFOLLOW != 0
	default:
		return false
	}
}

// own reports whether a path is pause's.
func (w *pathWalk) own(name string) bool {
	if path.Clean(name) != strings.TrimSuffix(name, "/") && name != "/" {
		return false
	}
	return slices.ContainsFunc(w.r.OwnPaths, func(own string) bool {
		return name == own || own != "/" && strings.HasSuffix(own, "/") && strings.HasPrefix(name, own)
	})
}
