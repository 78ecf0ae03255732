package tape

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// allocate gives the builder's registers, n of them, their numbers on the wire, and puts those into steps. A register is free again
// after the step that closes it, where that surely runs if the one that opened it did, and behind the Unless that alone knows it.
//
// Reuse is safe although a step may fail or be skipped: the player sets the register of a step that fails to -1, and what is filled
// inside an Unless alone isn't used outside of it.
func allocate(steps []step, closed map[int]int, n int) error {
	if i := slices.Index(unwritten(steps, n), true); i >= 0 {
		return fmt.Errorf("step %d (%s) uses a register that no earlier step fills, or only an Unless that may have been skipped", i, steps[i].name())
	}
	a := allocator{
		steps:  steps,
		refs:   refs(steps),
		number: slices.Repeat([]int{-1}, n),
		opened: slices.Repeat([]int{-1}, n),
		gone:   make([]bool, n),
	}
	for i := range steps {
		a.leaveBodies(i)
		if err := a.uses(i); err != nil {
			return err
		}
		if id, ok := closed[i]; ok && a.refs[i] == a.refs[a.opened[id]] {
			a.release(id)
		}
		if err := a.result(i); err != nil {
			return err
		}
	}
	return nil
}

type allocator struct {
	steps []step
	refs  []int
	// number is each register's on the wire, opened the step that fills it first; -1: none yet. gone ones are free again.
	number, opened []int
	gone           []bool
	// local are the registers that an Unless alone knows.
	local []int
	free  []int
	fresh int
}

func (a *allocator) release(id int) {
	if !a.gone[id] {
		a.gone[id] = true
		a.free = append(a.free, a.number[id])
	}
}

// leaveBodies frees what no step from i on can name.
func (a *allocator) leaveBodies(i int) {
	a.local = slices.DeleteFunc(a.local, func(id int) bool {
		ref := a.refs[a.opened[id]]
		over := i > ref+a.steps[ref].skip
		if over {
			a.release(id)
		}
		return over
	})
}

func (a *allocator) uses(i int) error {
	s := &a.steps[i]
	for k := range s.args {
		arg := &s.args[k]
		if arg.kind != argReg {
			continue
		}
		if a.gone[arg.value] {
			return fmt.Errorf("step %d (%s) uses a register that an earlier step closed", i, s.name())
		}
		arg.value = uint64(a.number[arg.value])
	}
	return nil
}

func (a *allocator) result(i int) error {
	s := &a.steps[i]
	if s.dst < 0 {
		return nil
	}
	id := s.dst
	if a.gone[id] {
		return fmt.Errorf("step %d (%s) fills a register that an earlier step closed", i, s.name())
	}
	if a.number[id] < 0 {
		r, err := a.take()
		if err != nil {
			return fmt.Errorf("step %d (%s): %w", i, s.name(), err)
		}
		a.number[id], a.opened[id] = r, i
		if a.refs[i] >= 0 {
			a.local = append(a.local, id)
		}
	}
	s.dst = a.number[id]
	return nil
}

func (a *allocator) take() (int, error) {
	if n := len(a.free); n > 0 {
		r := a.free[n-1]
		a.free = a.free[:n-1]
		return r, nil
	}
	if a.fresh == registers {
		return 0, fmt.Errorf("more than %d registers: close what isn't needed any more", registers)
	}
	a.fresh++
	return a.fresh - 1, nil
}

// unwritten says of each step whether it uses one of n registers that isn't surely written: by no earlier step, or inside an Unless that
// may have been skipped. A step whose failure is ignored counts as writing: then the register is -1.
func unwritten(steps []step, n int) []bool {
	refs := refs(steps)
	bad := make([]bool, len(steps))
	// until is the last step at which a register counts as written.
	until := slices.Repeat([]int{-1}, n)
	for i := range steps {
		s := &steps[i]
		for _, a := range s.args {
			if a.kind == argReg && i > until[a.value] {
				bad[i] = true
			}
		}
		ref := refs[i]
		if s.nr == unix.SYS_CLOSE && s.args[0].kind == argReg && ref < 0 {
			until[s.args[0].value] = -1
		}
		if s.dst < 0 {
			continue
		}
		switch {
		case ref < 0:
			until[s.dst] = len(steps)
		case steps[ref].dst == s.dst:
			// Success of the other way skips this one.
		default:
			until[s.dst] = max(until[s.dst], ref+steps[ref].skip)
		}
	}
	return bad
}

// refs says of each step which step's success skips it, the innermost one; -1: none's.
func refs(steps []step) []int {
	refs := slices.Repeat([]int{-1}, len(steps))
	for i := range steps {
		for k := i + 1; k <= i+steps[i].skip && k < len(steps); k++ {
			refs[k] = i
		}
	}
	return refs
}

// depths says of each step how many bodies of an Unless it is in.
func depths(steps []step) []int {
	depth := make([]int, len(steps))
	for i := range steps {
		for k := i + 1; k <= i+steps[i].skip && k < len(steps); k++ {
			depth[k]++
		}
	}
	return depth
}
