package cgroup

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxUnifiedValue is what one write(2) to a cgroup file can hold: less than a
// page.
const maxUnifiedValue = 4095

// unifiedSettings are the raw v2 files of a request, sorted by name. The name
// must begin with an available controller's, which keeps cgroup.procs,
// cgroup.freeze and their like out of reach.
func unifiedSettings(h *Hierarchy, r *Resources, _ *Limits) ([]setting, error) {
	var s []setting
	for _, key := range slices.Sorted(maps.Keys(r.Unified)) {
		if h.mode != V2 {
			return nil, fmt.Errorf("unified setting %.64q: %w: it is for cgroup v2, this is %s", key, ErrUnsupported, h.mode)
		}
		controller, rest, _ := strings.Cut(key, ".")
		if rest == "" || len(key) > maxComponent || strings.ContainsFunc(key, func(c rune) bool { return !unifiedRune(c) }) {
			return nil, fmt.Errorf("%w: unified setting %.64q: want CONTROLLER.NAME of letters, digits, underscores and dots", ErrInvalid, key)
		}
		if !slices.Contains(v2Managed, controller) || h.by[controller] == nil {
			return nil, fmt.Errorf("unified setting %q: %w: there is no controller %q, only %s", key, ErrUnsupported, controller, strings.Join(h.v2.controllers, " "))
		}
		value := r.Unified[key]
		if len(value) > maxUnifiedValue || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("%w: unified setting %q: the value has %d bytes, at most %d without a NUL are allowed", ErrInvalid, key, len(value), maxUnifiedValue)
		}
		// Files with a line for each device take one line a write.
		for line := range strings.SplitSeq(strings.TrimSuffix(value, "\n"), "\n") {
			s = append(s, setting{controller: controller, file: key, value: line})
		}
	}
	return s, nil
}

func unifiedRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.'
}
