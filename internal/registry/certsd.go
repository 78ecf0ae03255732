package registry

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// DefaultCertsDirs are where nodes have their hosts.toml files.
var DefaultCertsDirs = []string{"/etc/podlet/certs.d", "/etc/containerd/certs.d"}

// hostsOf gives the hosts to ask for the registry's images, in order, read anew from the first of dirs that is there: its directory for the registry, or
// "_default". The registry's own server comes last.
func hostsOf(registry string, dirs []string, log *slog.Logger) ([]*Host, error) {
	for _, dir := range dirs {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fail(ErrConfig, "registry %s: %w", registry, err)
		}
		return hostsIn(dir, registry, log)
	}
	return []*Host{defaultHost(registry, "no certs.d directory")}, nil
}

func hostsIn(dir, registry string, log *slog.Logger) ([]*Host, error) {
	for _, name := range directoryNames(registry) {
		sub := filepath.Join(dir, name)
		if fi, err := os.Stat(sub); err != nil || !fi.IsDir() {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fail(ErrConfig, "registry %s: %w", registry, err)
			}
			continue
		}
		hosts, err := readHosts(filepath.Join(sub, "hosts.toml"), registry, log)
		if errors.Is(err, errNoHostsFile) {
			return certificatesOnly(sub, registry)
		}
		return hosts, err
	}
	return []*Host{defaultHost(registry, "no directory for it in "+dir)}, nil
}

// directoryNames are the names under which a registry's directory is looked for. A colon may be written "_5000_", for file systems that know none.
func directoryNames(registry string) []string {
	names := []string{registry, "_default"}
	if host, port, ok := strings.Cut(registry, ":"); ok && !strings.Contains(port, ":") {
		names = append([]string{host + "_" + port + "_"}, names...)
	}
	return names
}

// certificatesOnly reads a directory as Docker has them: *.crt are CAs, NAME.cert and NAME.key a client's certificate.
func certificatesOnly(dir, registry string) ([]*Host, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fail(ErrConfig, "registry %s: %w", registry, err)
	}
	h := defaultHost(registry, dir)
	t := tlsFiles{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch filepath.Ext(path) {
		case ".crt":
			t.ca = append(t.ca, path)
		case ".cert":
			t.client = append(t.client, [2]string{path, strings.TrimSuffix(path, ".cert") + ".key"})
		}
	}
	if len(t.ca)+len(t.client) > 0 && h.URL.Scheme == "http" {
		h.URL.Scheme = "https"
	}
	if h.TLS, err = t.load(h.URL.Scheme); err != nil {
		return nil, fail(ErrConfig, "registry %s: %w", registry, err)
	}
	return []*Host{h}, nil
}
