package image

import "slices"

const dockerManifest = "manifest.json"

// dockerEntry is an image in the manifest.json of "docker save".
type dockerEntry struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// readDockerArchive finds the images of a docker-archive. It has no digests of layers but the diffIDs in the configs.
func readDockerArchive(a archive) ([]*found, error) {
	data, err := readAll(a, dockerManifest, maxManifestBytes)
	if err != nil {
		return nil, err
	}
	entries, err := parseDockerManifest(data)
	if err != nil {
		return nil, invalid("manifest.json: %w", err)
	}
	var all []*found
	for _, e := range entries {
		f, err := e.read(a)
		if err != nil {
			return nil, invalid("image %s: %w", quote(e.Config), err)
		}
		all = append(all, f)
	}
	return all, nil
}

func parseDockerManifest(data []byte) ([]dockerEntry, error) {
	var entries []dockerEntry
	if err := decodeStrict(data, &entries); err != nil {
		return nil, err
	}
	if n := len(entries); n == 0 || n > maxDescriptors {
		return nil, invalid("%d images: want 1 to %d", n, maxDescriptors)
	}
	for _, e := range entries {
		if n := len(e.Layers); n == 0 || n > maxLayers {
			return nil, invalid("image of %d layers: want 1 to %d", n, maxLayers)
		}
		if len(e.RepoTags) > maxDescriptors {
			return nil, invalid("image of %d tags: at most %d", len(e.RepoTags), maxDescriptors)
		}
		for _, name := range append([]string{e.Config}, e.Layers...) {
			if clean, err := cleanName(name); err != nil || clean == "" {
				return nil, invalid("file %s: no name of a file in the archive", quote(name))
			}
		}
	}
	return entries, nil
}

func (e *dockerEntry) read(a archive) (*found, error) {
	config, err := readAll(a, e.Config, maxConfigBytes)
	if err != nil {
		return nil, err
	}
	f := &found{config: config}
	for _, tag := range e.RepoTags {
		name, err := NormalizeName(tag)
		if err != nil {
			return nil, err
		}
		if !hasDigest(name) && !slices.Contains(f.names, name) {
			f.names = append(f.names, name)
		}
	}
	for _, file := range e.Layers {
		f.layers = append(f.layers, foundLayer{file: file, size: -1})
	}
	return f, nil
}
