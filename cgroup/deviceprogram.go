package cgroup

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// programName tells our device program from one that something else attached
// to the same cgroup.
const programName = "podlet_device"

// insn is struct bpf_insn: src and dst share a byte, dst in its low half.
type insn struct {
	op   uint8
	regs uint8
	off  int16
	imm  int32
}

// deviceProgram compiles rules. The program is called with the kind of device,
// its numbers and the accesses wanted, often several; it returns 1 to allow.
// It looks at the rules from the last to the first, so that each access is
// decided by the last rule that matches it:
//
//	r3 = accesses not decided yet
//	for each rule that matches type, major and minor:
//	    allow: strike its accesses from r3; none left: return 1
//	    deny:  any of its accesses in r3: return 0
//	return 0
func deviceProgram(rules []DeviceRule) []insn {
	const (
		r0, r1, r2, r3, r4, r5 = 0, 1, 2, 3, 4, 5
		fromReg                = unix.BPF_X
	)
	load := func(dst uint8, off int16) insn {
		return insn{op: unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W, regs: dst | r1<<4, off: off}
	}
	alu := func(op, dst uint8, imm int32) insn {
		return insn{op: unix.BPF_ALU64 | op | unix.BPF_K, regs: dst, imm: imm}
	}
	move := func(dst, src uint8) insn {
		return insn{op: unix.BPF_ALU64 | unix.BPF_MOV | fromReg, regs: dst | src<<4}
	}
	answer := func(n int32) []insn {
		return []insn{alu(unix.BPF_MOV, r0, n), {op: unix.BPF_JMP | unix.BPF_EXIT}}
	}
	// struct bpf_cgroup_dev_ctx: access_type (access << 16 | type), major, minor.
	program := []insn{
		load(r2, 0),
		move(r3, r2),
		alu(unix.BPF_RSH, r3, 16),
		alu(unix.BPF_AND, r2, 0xffff),
		load(r4, 4),
		load(r5, 8),
	}
	for i := len(rules) - 1; i >= 0; i-- {
		r := rules[i]
		if r.everything() {
			// Earlier rules can't be reached, and the verifier refuses such code.
			if r.Allow {
				return append(program, answer(1)...)
			}
			break
		}
		var then []insn
		if r.Allow {
			then = append(then, alu(unix.BPF_AND, r3, ^r.access()), insn{op: unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K, regs: r3, off: 2})
			then = append(then, answer(1)...)
		} else {
			then = append(then, move(r0, r3), alu(unix.BPF_AND, r0, r.access()), insn{op: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, regs: r0, off: 2})
			then = append(then, answer(0)...)
		}
		unless := func(reg uint8, n int64) {
			then = append([]insn{{op: unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K, regs: reg, off: int16(len(then)), imm: int32(n)}}, then...)
		}
		if r.Minor != -1 {
			unless(r5, r.Minor)
		}
		if r.Major != -1 {
			unless(r4, r.Major)
		}
		switch r.Type {
		case 'b':
			unless(r2, 1)
		case 'c':
			unless(r2, 2)
		}
		program = append(program, then...)
	}
	return append(program, answer(0)...)
}

// maxPrograms bounds the cache. A node has a handful of device lists; a list
// beyond the bound is loaded for its container alone.
const maxPrograms = 32

// programCache keeps loaded programs by their rules: all containers with the
// same rules, nearly all of a node, share one in the kernel.
type programCache struct {
	mu struct {
		sync.Mutex
		loaded map[string]*program
	}
}

// program is a loaded device program. tag is the kernel's hash of it, by which
// the same program loaded by an earlier podlet is known.
type program struct {
	fd     int
	tag    [8]byte
	cached bool // the cache owns fd
}

func (p *program) release() {
	if !p.cached {
		unix.Close(p.fd)
	}
}

// get loads the program for rules, or finds it. The caller releases it.
func (c *programCache) get(rules []DeviceRule) (*program, error) {
	key := fmt.Sprint(rules)
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.mu.loaded[key]; p != nil {
		return p, nil
	}
	fd, err := loadProgram(deviceProgram(rules), programName)
	if err != nil {
		return nil, fmt.Errorf("load a device program (needs CONFIG_CGROUP_BPF and CAP_BPF or CAP_SYS_ADMIN): %w", err)
	}
	info, err := programInfo(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("read the device program just loaded: %w", err)
	}
	p := &program{fd: fd, tag: info.tag, cached: len(c.mu.loaded) < maxPrograms}
	if p.cached {
		if c.mu.loaded == nil {
			c.mu.loaded = map[string]*program{}
		}
		c.mu.loaded[key] = p
	}
	return p, nil
}

func (c *programCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.mu.loaded {
		unix.Close(p.fd)
	}
	c.mu.loaded = nil
}

// setProgram attaches the program for rules in place of ours, if there is one
// and it is another.
func (g *Group) setProgram(rules []DeviceRule) error {
	p, err := g.h.programs.get(rules)
	if err != nil {
		return err
	}
	defer p.release()
	// BPF wants a real fd, not an O_PATH one.
	fd, err := g.h.v2.root.open(g.path.rel, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open the v2 directory: %w", err)
	}
	cgroup := dir(fd)
	defer cgroup.close()
	old, same, err := ourProgram(cgroup, p.tag)
	if err != nil || same {
		return err
	}
	if old != -1 {
		defer unix.Close(old)
	}
	if err := attachProgram(cgroup, p.fd, old); err != nil {
		return fmt.Errorf("attach the device program: %w", err)
	}
	return nil
}

// ourProgram finds our program on cgroup: its fd, or -1, or that it is the one
// with the tag.
func ourProgram(cgroup dir, tag [8]byte) (fd int, same bool, err error) {
	ids, err := attachedPrograms(cgroup)
	if err != nil {
		return -1, false, fmt.Errorf("list attached device programs: %w", err)
	}
	for _, id := range ids {
		fd, err := programByID(id)
		if errors.Is(err, unix.ENOENT) {
			continue // detached since
		}
		if err != nil {
			return -1, false, fmt.Errorf("open device program %d: %w", id, err)
		}
		info, err := programInfo(fd)
		if err == nil && unix.ByteSliceToString(info.name[:]) == programName && info.tag != tag {
			return fd, false, nil
		}
		unix.Close(fd)
		if err != nil {
			return -1, false, fmt.Errorf("read device program %d: %w", id, err)
		}
		if unix.ByteSliceToString(info.name[:]) == programName {
			return -1, true, nil
		}
	}
	return -1, false, nil
}
