package registry

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// DefaultCertsDirs are where nodes have their hosts.toml files.
var DefaultCertsDirs = []string{"/etc/podlet/certs.d", "/etc/containerd/certs.d"}

// hostList is who is asked for a registry's images, in order. The registry's own server comes last.
type hostList struct {
	hosts []*Host
	// from is the file or the directory that was read, or says why none was.
	from string
	// warnings are about what was read and has no effect.
	warnings []string
}

// hostsOf gives the hosts to ask for the registry's images, read anew from the first of dirs that is there: its directory for the registry, or "_default".
func hostsOf(registry string, dirs []string) (hostList, error) {
	for _, dir := range dirs {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return hostList{}, fail(ErrConfig, "registry %s: %w", registry, err)
		}
		return hostsIn(dir, registry)
	}
	return byDefault(registry, "nothing is configured: there is no "+strings.Join(dirs, ", and no ")), nil
}

func byDefault(registry, why string) hostList {
	return hostList{hosts: []*Host{defaultHost(registry, "the registry itself")}, from: why}
}

func hostsIn(dir, registry string) (hostList, error) {
	for _, name := range directoryNames(registry) {
		sub := filepath.Join(dir, name)
		if fi, err := os.Stat(sub); err != nil || !fi.IsDir() {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return hostList{}, fail(ErrConfig, "registry %s: %w", registry, err)
			}
			continue
		}
		file := filepath.Join(sub, "hosts.toml")
		hosts, warnings, err := readHosts(file, registry)
		if errors.Is(err, errNoHostsFile) {
			return certificatesOnly(sub, registry)
		}
		return hostList{hosts, file, warnings}, err
	}
	return byDefault(registry, "nothing is configured for it in "+dir), nil
}

// directoryNames are the names under which a registry's directory is looked for. A colon may be written "_5000_", for file systems that know none.
func directoryNames(registry string) []string {
	names := []string{registry, "_default"}
	if _, port, err := net.SplitHostPort(registry); err == nil {
		names = append([]string{strings.TrimSuffix(registry, ":"+port) + "_" + port + "_"}, names...)
	}
	return names
}

// certificatesOnly reads a directory as Docker has them: *.crt are CAs, NAME.cert and NAME.key a client's certificate.
func certificatesOnly(dir, registry string) (hostList, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return hostList{}, fail(ErrConfig, "registry %s: %w", registry, err)
	}
	h := defaultHost(registry, "the registry itself")
	t := TLSFiles{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch filepath.Ext(path) {
		case ".crt":
			t.CA = append(t.CA, path)
		case ".cert":
			t.Client = append(t.Client, [2]string{path, strings.TrimSuffix(path, ".cert") + ".key"})
		}
	}
	if len(t.CA)+len(t.Client) > 0 && h.URL.Scheme == "http" {
		h.URL.Scheme = "https"
	}
	if h.TLS, err = t.load(h.URL.Scheme); err != nil {
		return hostList{}, fail(ErrConfig, "registry %s: %w", registry, err)
	}
	if h.TLS != nil {
		h.Files = t
	}
	return hostList{hosts: []*Host{h}, from: dir}, nil
}
