package pod

// Features are what the kernel and the file system below Config.Root can do for pods.
type Features struct {
	UserNamespaces    bool `json:"userNamespaces"`
	RecursiveReadOnly bool `json:"recursiveReadOnly"`
}

// Features finds out, by doing, what pods can have here. User namespaces are offered only where volumes on a tmpfs, such as secrets,
// can be mapped too (KEP-127).
func (r *Runtime) Features() (Features, error) {
	f, err := r.mounts.Features()
	if err != nil {
		return Features{}, err
	}
	return Features{UserNamespaces: f.IDMappedDir && f.IDMappedLayers && f.IDMappedTmpfs, RecursiveReadOnly: f.RecursiveReadOnly}, nil
}
