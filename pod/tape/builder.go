package tape

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// Builder puts a tape together, a step a constructor.
type Builder struct {
	name  string
	fds   []string
	steps []step
	data  data
	err   error

	// regs counts the registers handed out so far: as many as wanted. Finish maps them to the machine's few.
	regs int
	// into is the register that the next fd-producing step writes, nil: a new one.
	into *Reg
	// closed says which register a step closes: step to register.
	closed map[int]int
}

// New starts a tape. Its name stands in front of error messages: "container web/nginx".
func New(name string) *Builder {
	return &Builder{name: name, closed: map[int]int{}}
}

// FD declares the next fd that is passed with the tape. The names are unique; the order of the calls is the order of passing.
func (b *Builder) FD(name string) FD {
	switch {
	case name == "":
		b.note(errors.New("a passed fd has no name"))
	case slices.Contains(b.fds, name):
		b.note(fmt.Errorf("two passed fds are named %q", name))
	case len(b.fds) == maxFDs:
		b.note(fmt.Errorf("more than %d passed fds", maxFDs))
	}
	b.fds = append(b.fds, name)
	return FD{b, len(b.fds) - 1}
}

// StepRef is a step that can still be modified.
type StepRef struct {
	b     *Builder
	index int
}

// Last is the step appended last; Finish fails if there is none.
func (b *Builder) Last() *StepRef {
	if len(b.steps) == 0 {
		b.note(errors.New("Last of a tape without steps"))
	}
	return &StepRef{b, len(b.steps) - 1}
}

func (r *StepRef) step() *step {
	if r.index < 0 {
		return &step{}
	}
	return &r.b.steps[r.index]
}

// Ignore lets the tape go on where the step fails with one of errnos; four at most, all calls together.
func (r *StepRef) Ignore(errnos ...syscall.Errno) *StepRef {
	s := r.step()
	for _, errno := range errnos {
		free := slices.Index(s.ignore[:], 0)
		switch {
		case errno == 0 || errno > 0xffff:
			r.b.note(fmt.Errorf("step %d (%s) ignores errno %d, which isn't one", r.index, s.name(), int(errno)))
		case slices.Contains(s.ignore[:], uint16(errno)):
		case free < 0:
			r.b.note(fmt.Errorf("step %d (%s) ignores more than %d errnos", r.index, s.name(), ignores))
		default:
			s.ignore[free] = uint16(errno)
		}
	}
	return r
}

// Try makes the step one of several tries: if the tape runs out, the failure reported is the first try's that failed with another errno
// than ENOENT, else the last one's.
func (r *StepRef) Try() *StepRef {
	r.step().flags |= flagTry
	return r
}

// Sought says what the step, or all the tries that it is one of, looked for. ENOENT means that none found it, and the error says so by these words: the
// step that was last is no more to blame than the others.
func (r *StepRef) Sought(what string) *StepRef {
	r.step().sought = what
	return r
}

// Positive makes a result of 0 a failure, EPIPE: what is read has no other end any more.
func (r *StepRef) Positive() *StepRef {
	r.step().flags |= flagPositive
	return r
}

// Unless makes the steps that body appends run only where ref's step failed with an errno that it ignores. ref must be the step
// appended last; 255 steps at most. A register that body should fill in ref's place is named by [Builder.Into].
func (b *Builder) Unless(ref *StepRef, body func()) {
	if ref.b != b || ref.index != len(b.steps)-1 {
		b.note(fmt.Errorf("Unless of step %d, which isn't the last one", ref.index))
	}
	body()
	n := len(b.steps) - 1 - ref.index
	if n == 0 {
		return
	}
	if n > maxSkip {
		b.note(fmt.Errorf("step %d (%s) skips %d steps, more than %d", ref.index, ref.step().name(), n, maxSkip))
		return
	}
	s := ref.step()
	s.flags |= flagSkip
	s.skip = n
}

// Into makes the next fd-producing step store its result in reg, instead of a register of its own.
func (b *Builder) Into(reg Reg) {
	if reg.b != b {
		b.note(errors.New("Into a register of another tape"))
		return
	}
	b.into = &reg
}

// Finish checks the bounds and gives the tape. The error is the first mistake made since New. b is of no use afterwards.
func (b *Builder) Finish() (*Tape, error) {
	t, err := b.finish()
	if err != nil {
		return nil, fmt.Errorf("tape of %s: %w", b.name, err)
	}
	return t, nil
}

func (b *Builder) finish() (*Tape, error) {
	if b.err != nil {
		return nil, b.err
	}
	if b.into != nil {
		return nil, errors.New("Into without a step that follows and opens an fd")
	}
	if len(b.steps) > maxSteps {
		return nil, fmt.Errorf("%d steps, more than %d", len(b.steps), maxSteps)
	}
	forks := 0
	for i := range b.steps {
		s := &b.steps[i]
		if s.has(flagFork) {
			forks++
		}
		if s.has(flagSkip) && !s.ignoresAny() {
			return nil, fmt.Errorf("step %d (%s) has an Unless but ignores no failure: the body would never run", i, s.name())
		}
	}
	if forks > 1 {
		return nil, fmt.Errorf("%d FORK steps: the status slot has room for one pid", forks)
	}
	if err := allocate(b.steps, b.closed, b.regs); err != nil {
		return nil, err
	}
	t := &Tape{name: b.name, fds: b.fds, steps: b.steps, relocs: b.data.relocs, data: b.data.finish()}
	if size := t.size(); size > maxSize {
		return nil, fmt.Errorf("%d bytes, more than %d: arguments, environment or mounts are too large", size, maxSize)
	}
	*b = Builder{err: errors.New("the tape was finished before")}
	return t, nil
}

// note keeps the first mistake.
func (b *Builder) note(err error) {
	if b.err == nil {
		b.err = err
	}
}

// add appends a step.
func (b *Builder) add(nr uint16, why string, args ...argument) *StepRef {
	s := step{nr: nr, dst: -1, why: why}
	copy(s.args[:], args)
	b.steps = append(b.steps, s)
	return &StepRef{b, len(b.steps) - 1}
}

// open appends a step whose result is an fd.
func (b *Builder) open(nr uint16, why string, args ...argument) Reg {
	reg := Reg{b, b.regs}
	if b.into != nil {
		reg = *b.into
		b.into = nil
	} else {
		b.regs++
	}
	b.add(nr, why, args...).step().dst = reg.id
	return reg
}

func imm(v uint64) argument { return argument{argImm, v} }

// signed is an int or a pid, uid or priority that may be negative.
func signed(v int) argument { return argument{argImm, uint64(int64(v))} }

// fd is an operand of the step that is about to be appended.
func (b *Builder) fd(f Fd) argument {
	if f == nil {
		b.note(fmt.Errorf("step %d: an fd is nil", len(b.steps)))
		return argument{}
	}
	a, err := f.operand(b)
	if err != nil {
		b.note(fmt.Errorf("step %d: %w", len(b.steps), err))
	}
	return a
}

// str is a string of the step that is about to be appended.
func (b *Builder) str(s string) argument {
	off, err := b.data.str(s)
	if err != nil {
		b.note(fmt.Errorf("step %d: %w", len(b.steps), err))
	}
	return argument{argStr, off}
}

// buf is bytes of the step that is about to be appended; nothing is a null pointer.
func (b *Builder) buf(p []byte, relocs ...reloc) argument {
	if len(p) == 0 {
		return imm(0)
	}
	return argument{argBuf, uint64(len(p))<<32 | b.data.blob(p, relocs)}
}
