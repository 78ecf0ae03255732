package testimage

import (
	"os"
	"path/filepath"
)

func makeTools() (Image, error) {
	layers, err := busyboxLayers()
	if err != nil {
		return Image{}, err
	}
	top, err := probeLayer("bin/probe")
	return Image{
		Names:  []string{ToolsName},
		Layers: append(layers, top),
		Config: Config{Entrypoint: []string{"/bin/probe"}, Cmd: []string{"show"}, Env: []string{"PATH=/bin:/usr/bin:/sbin:/usr/sbin"}},
	}, err
}

func makeScratch() (Image, error) {
	layer, err := probeLayer("probe")
	return Image{
		Names:  []string{ScratchName},
		Layers: []Layer{layer},
		Config: Config{
			User: "1234:5678", Entrypoint: []string{"/probe"}, Cmd: []string{"show"},
			Env: []string{"PATH=/", "FROM_IMAGE=yes"}, WorkingDir: "/work/dir", StopSignal: "SIGUSR1",
			Volumes: map[string]struct{}{"/data": {}}, ExposedPorts: map[string]struct{}{"8080/tcp": {}},
			Labels: map[string]string{"test.podlet/what": "scratch"},
		},
	}, err
}

// probeLayer builds the probe (Go's own cache makes that quick) and gives a layer with it.
func probeLayer(name string) (Layer, error) {
	root, err := checkout()
	if err != nil {
		return Layer{}, err
	}
	cache, err := cacheDir()
	if err != nil {
		return Layer{}, err
	}
	tmp, err := os.MkdirTemp(cache, "probe-")
	if err != nil {
		return Layer{}, err
	}
	defer os.RemoveAll(tmp)
	binary := filepath.Join(tmp, "probe")
	if err := run(root, "env", "CGO_ENABLED=0", "GOFLAGS=", "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "./hack/testimages/probe"); err != nil {
		return Layer{}, err
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return Layer{}, err
	}
	t := NewTree()
	if dir := filepath.Dir(name); dir != "." {
		t.Dir(dir, 0o755)
	}
	return t.File(name, 0o755, string(data)).Layer(Zstd)
}
