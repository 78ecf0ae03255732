package tape

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// A param below that finds another kind of argument than its own shows the argument bare: a decoded tape may hold anything.

func bareParam(p *printer, s *step, k int) string { return p.bare(s.args[k]) }

// immParam is for a param of plain numbers.
func immParam(text func(v uint64) string) param {
	return func(p *printer, s *step, k int) string {
		if s.args[k].kind != argImm {
			return p.bare(s.args[k])
		}
		return text(s.args[k].value)
	}
}

func flagParam(table []bit) param {
	return immParam(func(v uint64) string { return join(table, v) })
}

func nameParam(table map[uint64]string) param {
	return immParam(func(v uint64) string { return nameOf(table, v) })
}

// nameOf is a number's name, or the number.
func nameOf(table map[uint64]string, v uint64) string {
	if name, ok := table[v]; ok {
		return name
	}
	return strconv.FormatInt(int64(v), 10)
}

var (
	decimalParam    = immParam(func(v uint64) string { return strconv.FormatInt(int64(v), 10) })
	octalParam      = immParam(octal)
	idParam         = immParam(id)
	fileModeParam   = immParam(fileMode)
	deviceParam     = immParam(device)
	lastFdParam     = immParam(lastFd)
	openFlagParam   = immParam(func(v uint64) string { return join(openFlags, v) })
	socketTypeParam = immParam(socketType)
	ioprioParam     = immParam(ioprio)
	signalParam     = immParam(signal)
)

func octal(v uint64) string {
	if v == 0 {
		return "0"
	}
	return "0" + strconv.FormatUint(v, 8)
}

// id is a user or group; all ones leaves it as it is.
func id(v uint64) string {
	if v == ^uint64(0) || v == 0xffffffff {
		return "-1"
	}
	return strconv.FormatUint(v, 10)
}

var fileTypes = map[uint64]string{
	unix.S_IFIFO: "S_IFIFO", unix.S_IFCHR: "S_IFCHR", unix.S_IFBLK: "S_IFBLK", unix.S_IFREG: "S_IFREG", unix.S_IFSOCK: "S_IFSOCK",
}

func fileMode(v uint64) string {
	if name, ok := fileTypes[v&unix.S_IFMT]; ok {
		return name + "|" + octal(v&^unix.S_IFMT)
	}
	return octal(v)
}

func device(v uint64) string {
	if v == 0 {
		return "0"
	}
	return "makedev(" + strconv.Itoa(int(unix.Major(v))) + ", " + strconv.Itoa(int(unix.Minor(v))) + ")"
}

func lastFd(v uint64) string {
	if v == 0xffffffff {
		return "~0"
	}
	return strconv.FormatUint(v, 10)
}

func socketType(v uint64) string {
	flags := v & (unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK)
	text := nameOf(socketTypes, v&^flags)
	if flags != 0 {
		text += "|" + join(socketFlags, flags)
	}
	return text
}

func ioprio(v uint64) string {
	return nameOf(ioprioClasses, v>>ioprioClassShift) + "|" + strconv.FormatUint(v&(1<<ioprioClassShift-1), 10)
}

func signal(v uint64) string {
	if name := unix.SignalName(unix.Signal(v)); v < 65 && name != "" {
		return name
	}
	return strconv.FormatUint(v, 10)
}

func fdParam(p *printer, s *step, k int) string {
	a := s.args[k]
	if a.kind != argImm {
		return p.bare(a)
	}
	if int32(a.value) == unix.AT_FDCWD {
		return "AT_FDCWD"
	}
	return strconv.Itoa(int(int32(a.value)))
}

func stringParam(p *printer, s *step, k int) string {
	a := s.args[k]
	switch {
	case a.kind == argBuf:
		return quote(p.bytes(a))
	case a.kind == argImm && a.value == 0:
		return "NULL"
	default:
		return p.bare(a)
	}
}

// sizeParam is the size of argument of, which goes without saying where it is right.
func sizeParam(of int) param {
	return func(p *printer, s *step, k int) string {
		if s.args[k] == imm(uint64(p.size(s.args[of]))) {
			return ""
		}
		return p.bare(s.args[k])
	}
}

// scratchParam is where a result goes that nobody reads.
func scratchParam(p *printer, s *step, k int) string {
	if s.args[k].kind != argBuf {
		return p.bare(s.args[k])
	}
	return "scratch"
}

// prctlParam knows the options whose arguments have names.
func prctlParam(p *printer, s *step, k int) string {
	a := s.args[k]
	if s.args[0].kind != argImm || a.kind != argImm {
		return p.bare(a)
	}
	switch op := s.args[0].value; {
	case op == unix.PR_CAPBSET_DROP && k == 1:
		return capability(a.value)
	case op == unix.PR_CAP_AMBIENT && k == 1:
		return nameOf(ambientCommands, a.value)
	case op == unix.PR_CAP_AMBIENT && k == 2 && s.args[1] != imm(unix.PR_CAP_AMBIENT_CLEAR_ALL):
		return capability(a.value)
	case op == unix.PR_SET_PDEATHSIG && k == 1:
		return signal(a.value)
	default:
		return strconv.FormatInt(int64(a.value), 10)
	}
}

func capability(n uint64) string {
	if n < uint64(len(capabilities)) {
		return capabilities[n]
	}
	return "CAP_" + strconv.FormatUint(n, 10)
}
