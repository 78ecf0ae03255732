package cgroup

// Missing lists the parents of p that aren't there, as Create would make them: for a record that has to be written before they are.
// Somebody else may make them first.
func (h *Hierarchy) Missing(p Path) []Made {
	var missing []Made
	for _, t := range h.trees {
		if top := t.topMissing(p.Parent()); !top.IsRoot() {
			missing = append(missing, Made{Tree: t.name, Top: top.String()})
		}
	}
	return missing
}

// topMissing is the topmost cgroup on the way to p that isn't there, the root if all are. What can't be opened for another reason is there.
func (t *tree) topMissing(p Path) (top Path) {
	for at := p; !at.IsRoot(); at = at.Parent() {
		d, err := t.root.openDir(at.rel)
		if err == nil {
			d.close()
		}
		if !gone(err) {
			return top
		}
		top = at
	}
	return top
}
