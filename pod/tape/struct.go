package tape

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// structParam is for an argument that points to size bytes; text gets them and where they stand in data.
func structParam(size int, text func(p *printer, b []byte, at uint32) string) param {
	return func(p *printer, s *step, k int) string {
		a := s.args[k]
		if a == imm(0) {
			return "NULL"
		}
		if a.kind != argBuf || p.size(a) != size {
			return p.bare(a)
		}
		return text(p, p.bytes(a), uint32(a.value))
	}
}

var (
	openHowParam   = structParam(openHowSize, openHow)
	cloneArgsParam = structParam(cloneArgsSize, cloneArgs)
	mountAttrParam = structParam(mountAttrSize, mountAttr)
	capHeaderParam = structParam(8, capHeader)
	capSetsParam   = structParam(24, capSets)
	limitParam     = structParam(16, limit)
	signalSetParam = structParam(8, signalSet)
	sigactionParam = structParam(32, sigaction)
	schedParam     = structParam(4, schedPriority)
	filterParam    = structParam(16, filter)
)

func u64(b []byte, word int) uint64 { return binary.LittleEndian.Uint64(b[8*word:]) }
func u32(b []byte, word int) uint32 { return binary.LittleEndian.Uint32(b[4*word:]) }

// fields reads "{a=1, b=2}"; a field without text is left out.
func fields(list ...string) string {
	var set []string
	for i := 0; i < len(list); i += 2 {
		if list[i+1] != "" {
			set = append(set, list[i]+"="+list[i+1])
		}
	}
	return "{" + strings.Join(set, ", ") + "}"
}

// nonzero is text, or nothing where v is 0.
func nonzero(v uint64, text string) string {
	if v == 0 {
		return ""
	}
	return text
}

func openHow(_ *printer, b []byte, _ uint32) string {
	flags, mode, resolve := u64(b, 0), u64(b, 1), u64(b, 2)
	return fields("flags", accessMode(flags), "mode", nonzero(mode, octal(mode)), "resolve", nonzero(resolve, join(resolveFlags, resolve)))
}

// accessMode is the flags of an open with the access mode in front, which O_PATH goes without.
func accessMode(flags uint64) string {
	rest := flags &^ unix.O_ACCMODE
	if flags&unix.O_PATH != 0 && flags&unix.O_ACCMODE == 0 {
		return join(openFlags, flags)
	}
	mode := [...]string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}[flags&unix.O_ACCMODE]
	if rest == 0 {
		return mode
	}
	return mode + "|" + join(openFlags, rest)
}

var cloneArgsFields = []string{
	"flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid", "set_tid_size", "cgroup",
}

func cloneArgs(p *printer, b []byte, at uint32) string {
	list := []string{"flags", join(cloneFlags, u64(b, 0))}
	for i, name := range cloneArgsFields[1:] {
		v := u64(b, i+1)
		text := nonzero(v, hex(v))
		if name == "exit_signal" {
			text = nonzero(v, signal(v))
		}
		if fd := p.relocated(at + uint32(8*(i+1))); fd != "" {
			text = fd
		}
		list = append(list, name, text)
	}
	return fields(list...)
}

func mountAttr(p *printer, b []byte, at uint32) string {
	set, clr, propagation, userns := u64(b, 0), u64(b, 1), u64(b, 2), u64(b, 3)
	fd := p.relocated(at + 24)
	if fd == "" {
		fd = nonzero(userns, strconv.FormatUint(userns, 10))
	}
	return fields("set", nonzero(set, join(mountAttrs, set)), "clr", nonzero(clr, join(mountAttrs, clr)),
		"propagation", nonzero(propagation, join(mountFlags, propagation)), "userns", fd)
}

func capHeader(_ *printer, b []byte, _ uint32) string {
	version, pid := u32(b, 0), u32(b, 1)
	if version == unix.LINUX_CAPABILITY_VERSION_3 && pid == 0 {
		return "{self}"
	}
	return fmt.Sprintf("{version=%#x, pid=%d}", version, pid)
}

func capSets(_ *printer, b []byte, _ uint32) string {
	set := func(i int) uint64 { return uint64(u32(b, i)) | uint64(u32(b, i+3))<<32 }
	effective, permitted, inheritable := capSet(set(0)), capSet(set(1)), capSet(set(2))
	if effective == permitted {
		return fields("effective=permitted", effective, "inheritable", inheritable)
	}
	return fields("effective", effective, "permitted", permitted, "inheritable", inheritable)
}

// capSet names what is in a set, or where that is most of what there is, what isn't.
func capSet(set uint64) string {
	known := uint64(1)<<len(capabilities) - 1
	missing := known &^ set
	if set&^known == 0 && bits.OnesCount64(missing) < len(capabilities)/2 {
		if missing == 0 {
			return "all"
		}
		return "all but " + capNames(missing)
	}
	return capNames(set)
}

func capNames(set uint64) string {
	if set == 0 {
		return "0"
	}
	var names []string
	for ; set != 0; set &= set - 1 {
		names = append(names, capability(uint64(bits.TrailingZeros64(set))))
	}
	return strings.Join(names, "|")
}

func limit(_ *printer, b []byte, _ uint32) string {
	return fields("cur", infinity(u64(b, 0)), "max", infinity(u64(b, 1)))
}

func infinity(v uint64) string {
	if v == ^uint64(0) {
		return "RLIM_INFINITY"
	}
	return strconv.FormatUint(v, 10)
}

func signalSet(_ *printer, b []byte, _ uint32) string {
	set := u64(b, 0)
	if set == ^uint64(0) {
		return "~[]"
	}
	var names []string
	for ; set != 0; set &= set - 1 {
		names = append(names, signal(uint64(bits.TrailingZeros64(set)+1)))
	}
	return "[" + strings.Join(names, " ") + "]"
}

func sigaction(_ *printer, b []byte, _ uint32) string {
	if bytes.Equal(b, make([]byte, len(b))) {
		return "SIG_DFL"
	}
	if u64(b, 0) == 1 {
		return "SIG_IGN"
	}
	return fmt.Sprintf("{handler=%#x, flags=%#x}", u64(b, 0), u64(b, 1))
}

func schedPriority(_ *printer, b []byte, _ uint32) string {
	return fields("sched_priority", strconv.Itoa(int(int32(u32(b, 0)))))
}

func filter(p *printer, b []byte, at uint32) string {
	n := binary.LittleEndian.Uint16(b)
	if _, ok := p.relocs[at+8]; !ok {
		return quote(b)
	}
	return fmt.Sprintf("{len=%d}", n)
}

// groupCountParam and affinitySizeParam go without saying where they fit the list that follows.
func groupCountParam(p *printer, s *step, k int) string {
	if s.args[k] == imm(uint64(p.size(s.args[k+1])/4)) {
		return ""
	}
	return p.bare(s.args[k])
}

func affinitySizeParam(p *printer, s *step, k int) string { return sizeParam(k+1)(p, s, k) }

// mostGroups are shown; an image may bring thousands.
const mostGroups = 64

func groupsParam(p *printer, s *step, k int) string {
	a := s.args[k]
	if a != imm(0) && a.kind != argBuf {
		return p.bare(a)
	}
	var list []string
	b := p.bytes(a)
	n := len(b) / 4
	for i := range min(n, mostGroups) {
		list = append(list, strconv.FormatUint(uint64(u32(b, i)), 10))
	}
	if n > mostGroups {
		list = append(list, fmt.Sprintf("%d more", n-mostGroups))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func cpusParam(p *printer, s *step, k int) string {
	a := s.args[k]
	if a.kind != argBuf {
		return p.bare(a)
	}
	b := p.bytes(a)
	isSet := func(cpu int) bool { return cpu < 8*len(b) && b[cpu/8]>>(cpu%8)&1 != 0 }
	var ranges []string
	for cpu := 0; cpu < 8*len(b); cpu++ {
		if !isSet(cpu) {
			continue
		}
		first := cpu
		for isSet(cpu + 1) {
			cpu++
		}
		if cpu == first {
			ranges = append(ranges, strconv.Itoa(first))
		} else {
			ranges = append(ranges, fmt.Sprintf("%d-%d", first, cpu))
		}
	}
	return "{cpus=" + strings.Join(ranges, ",") + "}"
}

// ifreqSize is that of struct ifreq.
const ifreqSize = 40

func ioctlArgParam(p *printer, s *step, k int) string {
	a := s.args[k]
	switch {
	case a.kind == argImm:
		return hex(a.value)
	case a.kind == argBuf && s.args[1] == imm(unix.SIOCSIFFLAGS) && p.size(a) == ifreqSize:
		b := p.bytes(a)
		name, _, _ := bytes.Cut(b[:unix.IFNAMSIZ], []byte{0})
		return fields("ifr_name", quote(name), "ifr_flags", join(interfaceFlags, uint64(binary.LittleEndian.Uint16(b[unix.IFNAMSIZ:]))))
	case a.kind == argBuf:
		return quote(p.bytes(a))
	default:
		return p.bare(a)
	}
}

// argvParam and envParam are arrays of strings.
func argvParam(p *printer, s *step, k int) string {
	list, ok := p.vector(s.args[k])
	if !ok {
		return p.bare(s.args[k])
	}
	for i := range list {
		list[i] = quote([]byte(list[i]))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func envParam(p *printer, s *step, k int) string {
	list, ok := p.vector(s.args[k])
	if ok && !p.env {
		if len(list) == 1 {
			return "/* 1 var */"
		}
		return fmt.Sprintf("/* %d vars */", len(list))
	}
	return argvParam(p, s, k)
}
