package cgroup

// Check gives the error with which Create would refuse r: a value that no machine takes, or a limit that this one can't enforce.
// It touches no file.
func (h *Hierarchy) Check(r *Resources) error {
	_, err := h.plan(r, unlimited())
	return err
}
