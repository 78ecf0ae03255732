package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Meter reads what one cgroup uses, again and again. The first reading opens
// the cgroup's files, 8 to 10 of them, and later ones read them anew: 1 µs a file
// where opening them each time takes 6. An open file is one cgroup's for good: of
// one that was removed it answers ENODEV, whatever has its path since.
//
// It is safe for concurrent use; its lock is held while files are read.
type Meter struct {
	h    *Hierarchy
	path Path
	// group is set where the cgroup is this Group, of which every tree must be there. Where it isn't the path counts, whichever cgroup has it.
	group *Group

	mu     sync.Mutex
	ended  bool
	opened bool
	lacks  uint32 // bit i: of h.trees[i] something wasn't there that may come, the path or a controller
	files  [statFiles]statFile
	rate   cpuRate
}

// statFile is an open file, or none.
type statFile struct {
	fd   int
	name string
}

// The files that a Meter may have open. What each is called depends on the layout.
const (
	statCPU = iota
	statMemory
	statMemoryUsage
	statMemoryLimit
	statSwapUsage // v2's alone: v1 has it in memory.stat
	statSwapLimit
	statTasks
	statCPUPressure
	statMemoryPressure
	statIOPressure
	statFiles
)

// openBudget bounds how many files all Meters together keep open, so that what needs files to start or end containers finds some. A Meter beyond
// it closes its files after each reading.
type openBudget struct {
	open atomic.Int64
	most int64
}

// newOpenBudget takes half of what the process may open. Go has raised the soft limit to the hard one as the program began.
func newOpenBudget() openBudget {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return openBudget{}
	}
	return openBudget{most: int64(min(limit.Cur, 1<<30) / 2)}
}

// Meter gives a Meter of the cgroup at p, whoever makes it; a pod's, for example. Nothing is opened before its first Read. The caller closes it.
// On a hybrid machine p may be missing in some trees, as where a kubelet made it in those of v1: what those would tell is nil.
func (h *Hierarchy) Meter(p Path) *Meter { return &Meter{h: h, path: p} }

// Close closes the files. Read gives fs.ErrNotExist from then on.
func (m *Meter) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	m.closeFiles()
}

// Read reads what the cgroup uses now. One that is gone is fs.ErrNotExist.
func (m *Meter) Read() (*Stats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.read()
	if gone(err) && m.opened {
		s, err = m.again()
	}
	if err != nil || m.h.budget.open.Load() > m.h.budget.most {
		m.closeFiles()
	}
	if gone(err) {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the use of cgroup %s: %w", m.path, err)
	}
	return s, nil
}

// again reads once more after a file had gone: the path may be another cgroup's now, or PSI was switched off for this one (cgroup.pressure), which
// takes files away. Of a Group on V1 nothing would tell the one from the other.
func (m *Meter) again() (*Stats, error) {
	m.closeFiles()
	if m.group == nil {
		m.rate = cpuRate{}
	} else if m.group.v2 == nil {
		m.ended = true
	}
	return m.read()
}

func (m *Meter) read() (*Stats, error) {
	if m.ended {
		return nil, fmt.Errorf("it is removed, or about to be: %w", fs.ErrNotExist)
	}
	if !m.opened || m.lacks != 0 {
		if err := m.open(); err != nil {
			m.closeFiles()
			return nil, err
		}
	}
	page := statPages.Get().(*statPage)
	defer statPages.Put(page)
	s := &Stats{Time: time.Now()}
	r := statReader{m: m, page: page}
	r.cpu(s)
	r.memory(s)
	if text, ok := r.text(statTasks); ok {
		n := r.number(statTasks, text)
		s.Tasks = &n
	}
	s.CPUPressure = r.pressure(statCPUPressure)
	s.MemoryPressure = r.pressure(statMemoryPressure)
	s.IOPressure = r.pressure(statIOPressure)
	if r.err != nil {
		return nil, r.err
	}
	if s.CPU != nil {
		s.CPU.Rate = m.rate.add(cpuReading{s.Time, s.CPU.Usage})
	}
	return s, nil
}

// open opens what there is and isn't open. On a hybrid machine the v2 directory, which a Group keeps open from its making to its end, vouches for
// the trees of v1: a cgroup that took the Group's path over would have to have replaced that first, as Create refuses a path that is there in any tree.
func (m *Meter) open() error {
	if !m.opened {
		for i := range m.files {
			m.files[i].fd = -1
		}
		m.opened, m.lacks = true, math.MaxUint32
	}
	for i, t := range m.h.trees {
		if m.lacks&(1<<i) == 0 {
			continue
		}
		there, err := m.openTree(t, 1<<i)
		if err != nil {
			return fmt.Errorf("in the %s hierarchy: %w", t.name, err)
		}
		if !there && m.group != nil {
			return unix.ENOENT
		}
	}
	m.lacks &= 1<<len(m.h.trees) - 1
	if !slices.ContainsFunc(m.files[:], func(f statFile) bool { return f.fd >= 0 }) {
		return unix.ENOENT
	}
	if m.group != nil && m.group.v2 != nil && !dir(m.group.v2.Fd()).has("cgroup.procs") {
		return unix.ENOENT
	}
	return nil
}

// openTree opens what is wanted of one tree, and says whether the cgroup is in it, if that matters; bit is the tree's in lacks.
func (m *Meter) openTree(t *tree, bit uint32) (there bool, err error) {
	wanted := m.h.statNames(t)
	if m.group != nil {
		wanted[statTasks] = ""
	}
	known := false
	for i, name := range wanted {
		known = known || name != "" && m.files[i].fd >= 0
	}
	for i := range wanted {
		// Where the path was there before, PSI that was missing is missing for good.
		if m.files[i].fd >= 0 || known && i >= statCPUPressure {
			wanted[i] = ""
		}
	}
	there = true
	if wanted != [statFiles]string{} {
		there, err = m.openIn(t, wanted)
	}
	m.lacks &^= bit
	if !there || wanted[statMemory] != "" && m.files[statMemory].fd < 0 || wanted[statTasks] != "" && m.files[statTasks].fd < 0 {
		m.lacks |= bit
	}
	return there, err
}

// openIn opens the wanted files of one tree, and says whether the cgroup's directory is there. A file that isn't is that of a controller that
// isn't enabled, or of a kernel that has none.
func (m *Meter) openIn(t *tree, wanted [statFiles]string) (there bool, err error) {
	at, mine := dir(-1), false
	if t.v2 && m.group != nil && m.group.v2 != nil {
		at = dir(m.group.v2.Fd())
	} else {
		at, err = t.root.openDir(m.path.rel)
		mine = err == nil
	}
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if mine {
		defer at.close()
	}
	for i, name := range wanted {
		if name == "" {
			continue
		}
		fd, err := at.open(name, unix.O_RDONLY)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return true, &os.PathError{Op: "open", Path: name, Err: err}
		}
		m.files[i] = statFile{fd, name}
		m.h.budget.open.Add(1)
	}
	return true, nil
}

func (m *Meter) closeFiles() {
	if !m.opened {
		return
	}
	for i := range m.files {
		if m.files[i].fd >= 0 {
			unix.Close(m.files[i].fd)
			m.h.budget.open.Add(-1)
		}
		m.files[i].fd = -1
	}
	m.opened, m.lacks = false, 0
}

// statNames are the files that a Meter wants of one tree.
func (h *Hierarchy) statNames(t *tree) (names [statFiles]string) {
	if !t.v2 {
		for _, c := range t.controllers {
			switch c {
			case "cpuacct":
				names[statCPU] = "cpuacct.usage"
			case "memory":
				names[statMemory], names[statMemoryUsage], names[statMemoryLimit] = "memory.stat", "memory.usage_in_bytes", "memory.limit_in_bytes"
				names[statSwapLimit] = "memory.memsw.limit_in_bytes"
			case "pids":
				names[statTasks] = "pids.current"
			}
		}
		return names
	}
	names[statCPUPressure], names[statMemoryPressure], names[statIOPressure] = "cpu.pressure", "memory.pressure", "io.pressure"
	if h.by["cpuacct"] == nil {
		names[statCPU] = "cpu.stat" // its times are there without the controller, too
	}
	if h.onV2("memory") {
		names[statMemory], names[statMemoryUsage], names[statMemoryLimit] = "memory.stat", "memory.current", "memory.max"
		names[statSwapUsage], names[statSwapLimit] = "memory.swap.current", "memory.swap.max"
	}
	if h.onV2("pids") {
		names[statTasks] = "pids.current"
	}
	return names
}

func (d dir) has(file string) bool {
	var st unix.Stat_t
	return unix.Fstatat(int(d), file, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}
