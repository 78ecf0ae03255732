package seccomp

import (
	"math/big"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The oracle reads a profile the slow way, sharing no code with the compiler but the table of numbers and of architectures: numbers are
// compared as big.Int, every rule is tried for every call.

// oracle gives the verdict of a profile on a call.
func oracle(p *specs.LinuxSeccomp, m Machine, c call) uint32 {
	x, ok := spokenTo(p, m, c)
	if !ok {
		return unix.SECCOMP_RET_KILL_PROCESS
	}
	var matching []uint32
	newest, any, named := uint32(0), false, false
	bare := c.number &^ x.bit
	for _, s := range p.Syscalls {
		for _, name := range s.Names {
			number, ok := numberOn(name, x.column)
			if !ok {
				continue
			}
			if x.ownLast == 0 || number < x.ownFirst || number > x.ownLast {
				newest, any = max(newest, number), true
			}
			named = named || number == bare
			if number == bare && allHold(s.Args, c.args) {
				matching = append(matching, verdictOf(s.Action, s.ErrnoRet))
			}
		}
	}
	if len(matching) > 0 {
		return slices.MinFunc(matching, func(a, b uint32) int { return rank(a) - rank(b) })
	}
	byDefault := verdictOf(p.DefaultAction, p.DefaultErrnoRet)
	own := x.ownLast != 0 && bare >= x.ownFirst && bare <= x.ownLast
	if !named && !own && (!any || bare > newest) && rank(byDefault) <= rank(unix.SECCOMP_RET_ERRNO) {
		return unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	}
	return byDefault
}

// spokenTo gives the architecture that a call is made by, if the profile lets it.
func spokenTo(p *specs.LinuxSeccomp, m Machine, c call) (arch, bool) {
	for i, x := range machines[m.Arch] {
		if x.audit != c.audit || i > 0 && !slices.Contains(p.Architectures, x.name) {
			continue
		}
		if x.audit == unix.AUDIT_ARCH_X86_64 && c.number != 0xffffffff && c.number&x32Bit|c.number&0x80000000 != 0 != (x.bit != 0) {
			continue
		}
		return x, true
	}
	return arch{}, false
}

// byNameAndColumn is the table of numbers, for a quick look.
var byNameAndColumn = func() map[string][architectures]int32 {
	all := map[string][architectures]int32{}
	for _, n := range numbers {
		all[n.name] = n.on
	}
	return all
}()

func numberOn(name string, column int) (uint32, bool) {
	on, ok := byNameAndColumn[name]
	if !ok || on[column] < 0 {
		return 0, false
	}
	return uint32(on[column]), true
}

func allHold(args []specs.LinuxSeccompArg, values [6]uint64) bool {
	for _, a := range args {
		x := new(big.Int).SetUint64(values[a.Index])
		value := new(big.Int).SetUint64(a.Value)
		order := x.Cmp(value)
		var holds bool
		switch a.Op {
		case specs.OpEqualTo:
			holds = order == 0
		case specs.OpNotEqual:
			holds = order != 0
		case specs.OpLessThan:
			holds = order < 0
		case specs.OpLessEqual:
			holds = order <= 0
		case specs.OpGreaterThan:
			holds = order > 0
		case specs.OpGreaterEqual:
			holds = order >= 0
		case specs.OpMaskedEqual:
			holds = new(big.Int).And(x, value).Cmp(new(big.Int).SetUint64(a.ValueTwo)) == 0
		default:
			panic(a.Op)
		}
		if !holds {
			return false
		}
	}
	return true
}

func verdictOf(a specs.LinuxSeccompAction, errno *uint) uint32 {
	data := uint32(unix.EPERM)
	if errno != nil {
		data = uint32(*errno)
	}
	switch a {
	case specs.ActErrno:
		return 0x00050000 | data
	case specs.ActTrace:
		return 0x7ff00000 | data
	case specs.ActKill, specs.ActKillThread:
		return 0
	case specs.ActKillProcess:
		return 0x80000000
	case specs.ActTrap:
		return 0x00030000
	case specs.ActLog:
		return 0x7ffc0000
	case specs.ActAllow:
		return 0x7fff0000
	}
	panic(a)
}

// rank is an action's place in seccomp(2)'s list, the most restrictive first.
func rank(verdict uint32) int {
	return slices.Index([]uint32{0x80000000, 0, 0x00030000, 0x00050000, 0x7ff00000, 0x7ffc0000, 0x7fff0000}, verdict&0xffff0000)
}
