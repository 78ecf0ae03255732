package cgroup

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// apply writes settings to the cgroup p, in order, up to the first failure, and
// returns for each write what the file held before: see putBack.
func (h *Hierarchy) apply(p Path, settings []setting) (undo []setting, err error) {
	for _, s := range settings {
		value, err := h.by[s.controller].root.read(p.rel + "/" + s.file)
		if errors.Is(err, unix.ENOENT) && s.mayLack || err == nil && value == s.value && s.effective == "" {
			continue
		}
		if err != nil {
			return undo, fmt.Errorf("read %s of cgroup %s: %w", s.file, p, h.explain(p, s, err))
		}
		undo = append(undo, setting{controller: s.controller, file: s.file, value: value + "\n"})
		if err := h.applyOne(p, s); err != nil {
			return undo, err
		}
	}
	return undo, nil
}

// applyOne writes s to the cgroup p. On an error it may have been written.
func (h *Hierarchy) applyOne(p Path, s setting) error {
	root := h.by[s.controller].root
	err := root.write(p.rel+"/"+s.file, s.value)
	if errors.Is(err, unix.ENOENT) && s.mayLack {
		return nil
	}
	if err != nil {
		return fmt.Errorf("set %s of cgroup %s: %w", s, p, h.explain(p, s, err))
	}
	if s.effective == "" {
		return nil
	}
	granted, err := root.read(p.rel + "/" + s.effective)
	if err != nil {
		return fmt.Errorf("read %s of cgroup %s: %w", s.effective, p, err)
	}
	if !subset(s.value, granted) {
		return fmt.Errorf("set %s of cgroup %s: %w (granted is %q)", s, p, h.lacking(p, s), granted)
	}
	return nil
}

// putBack writes what apply returned, last first.
func (h *Hierarchy) putBack(p Path, old []setting) error {
	var failed []error
	for i := len(old) - 1; i >= 0; i-- {
		s := old[i]
		if err := h.by[s.controller].root.write(p.rel+"/"+s.file, s.value); err != nil {
			failed = append(failed, fmt.Errorf("put %s back to %q: %w", s.file, strings.TrimSuffix(s.value, "\n"), err))
		}
	}
	return errors.Join(failed...)
}

// explain says what an errno means for this file.
func (h *Hierarchy) explain(p Path, s setting, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: the kernel has no such file (%w)", ErrUnsupported, err)
	case s.controller == "cpuset" && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE) || errors.Is(err, unix.EOVERFLOW)):
		return fmt.Errorf("%w (%w)", h.lacking(p, s), err)
	case errors.Is(err, unix.EINVAL) && s.controller == "cpu":
		return fmt.Errorf("not a value the kernel takes, or quota/period is above the parent cgroup's or below that of one inside: %w", err)
	case errors.Is(err, unix.EBUSY) && s.controller == "memory":
		usage, _ := h.by[s.controller].root.read(p.rel + "/" + strings.Replace(s.file, "limit", "usage", 1))
		return belowUse(s.value, usage, err)
	}
	return err
}
