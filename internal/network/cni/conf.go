package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/utils"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"
)

// conf is one configuration: a list of plugins.
type conf struct {
	// file is its file's name, for messages.
	file string
	list *libcni.NetworkConfigList
	// text is the list with all of its plugins in it, wherever they were read from, and the version that was chosen: what a record keeps.
	text []byte
}

// extensions are those of configuration files: a list of plugins, or (the other two) also a single one.
var extensions = []string{".conflist", ".conf", ".json"}

// maxConf bounds a configuration file in bytes.
const maxConf = 1 << 20

// readConf reads the first configuration of a directory by name; nil if there is none. It doesn't go on to the next if the first is wrong:
// what pods would get then is not what anybody asked for.
func readConf(dir string) (*conf, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the directory of CNI configurations: %w", err)
	}
	// Sorted by name.
	for _, e := range entries {
		if e.IsDir() || !slices.Contains(extensions, filepath.Ext(e.Name())) {
			continue
		}
		c, err := readFile(dir, e.Name())
		if _, gone := os.Lstat(filepath.Join(dir, e.Name())); err != nil && errors.Is(gone, os.ErrNotExist) {
			continue // taken away since the directory was read
		}
		if err != nil {
			return nil, fmt.Errorf("CNI configuration %s: %w", filepath.Join(dir, e.Name()), err)
		}
		return c, nil
	}
	return nil, nil
}

func readFile(dir, name string) (*conf, error) {
	text, err := readGuarded(dir, name)
	if err != nil {
		return nil, err
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		return nil, fmt.Errorf("not JSON, or not of the right kind: %w", err)
	}
	list, err := parse(top, text)
	if err != nil {
		return nil, err
	}
	if err := utils.ValidateNetworkName(list.Name); err != nil {
		return nil, err
	}
	if !list.LoadOnlyInlinedPlugins {
		// Plugins of the network may lie in a directory of its name beside it (spec 1.1).
		more, err := readPlugins(filepath.Join(dir, list.Name))
		if err != nil {
			return nil, err
		}
		list.Plugins = append(list.Plugins, more...)
	}
	if len(list.Plugins) == 0 {
		return nil, errors.New("it has no plugins")
	}
	if list.CNIVersion == "" {
		// libcni passes over versions that are too new.
		var versions []string
		if json.Unmarshal(top["cniVersions"], &versions) == nil && len(versions) > 0 {
			return nil, fmt.Errorf("cniVersions %q has none of %s", versions, strings.Join(version.All.SupportedVersions(), ", "))
		}
		list.CNIVersion = "0.1.0"
	}
	if !slices.Contains(version.All.SupportedVersions(), list.CNIVersion) {
		return nil, fmt.Errorf("cniVersion %q is none of %s", list.CNIVersion, strings.Join(version.All.SupportedVersions(), ", "))
	}
	return whole(name, list)
}

// parse reads a list; a single plugin is made one.
func parse(top map[string]json.RawMessage, text []byte) (*libcni.NetworkConfigList, error) {
	if top["type"] == nil || top["plugins"] != nil {
		return libcni.NetworkConfFromBytes(text)
	}
	single := map[string]json.RawMessage{"plugins": slices.Concat([]byte{'['}, text, []byte{']'})}
	for _, key := range []string{"name", "cniVersion", "cniVersions", "disableCheck", "disableGC"} {
		if top[key] != nil {
			single[key] = top[key]
		}
	}
	listText, err := json.Marshal(single)
	if err != nil {
		return nil, err
	}
	list, err := libcni.NetworkConfFromBytes(listText)
	if err != nil {
		return nil, err
	}
	list.LoadOnlyInlinedPlugins = true
	return list, nil
}

// whole puts everything that was read into one text.
func whole(name string, list *libcni.NetworkConfigList) (*conf, error) {
	all := map[string]any{
		"name": list.Name, "cniVersion": list.CNIVersion, "disableCheck": list.DisableCheck, "disableGC": list.DisableGC, "loadOnlyInlinedPlugins": true,
	}
	var plugins []json.RawMessage
	for _, p := range list.Plugins {
		plugins = append(plugins, p.Bytes)
	}
	all["plugins"] = plugins
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return parseRecorded(name, text)
}

// parseRecorded reads a configuration as a record keeps it.
func parseRecorded(name string, text []byte) (*conf, error) {
	list, err := libcni.NetworkConfFromBytes(text)
	if err != nil {
		return nil, err
	}
	if len(list.Plugins) == 0 {
		return nil, errors.New("it has no plugins")
	}
	return &conf{name, list, text}, nil
}

func readPlugins(dir string) ([]*libcni.PluginConfig, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the plugins' directory: %w", err)
	}
	var list []*libcni.PluginConfig
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".conf" {
			continue
		}
		text, err := readGuarded(dir, e.Name())
		if err != nil {
			return nil, fmt.Errorf("plugin %s: %w", filepath.Join(dir, e.Name()), err)
		}
		p, err := libcni.NetworkPluginConfFromBytes(text)
		if err != nil {
			return nil, fmt.Errorf("plugin %s: %w", filepath.Join(dir, e.Name()), err)
		}
		list = append(list, p)
	}
	return list, nil
}

// readGuarded reads a file that not everybody may write, in a directory of the same kind: it says which programs run as root.
func readGuarded(dir, name string) ([]byte, error) {
	if err := guarded(dir); err != nil {
		return nil, err
	}
	// NONBLOCK: a fifo is to be no trap.
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errors.New("it is no regular file")
	}
	if st.Mode&0o002 != 0 {
		return nil, errWritable
	}
	text, err := io.ReadAll(io.LimitReader(f, maxConf+1))
	if err == nil && len(text) > maxConf {
		err = fmt.Errorf("it is larger than %d bytes", maxConf)
	}
	return text, err
}

// atLeast says whether the configuration is of that version of the spec, or a later one.
func (c *conf) atLeast(v string) bool {
	ok, err := version.GreaterThanOrEqualTo(c.list.CNIVersion, v)
	return err == nil && ok
}

// names says whether the configuration has a plugin of that type.
func (c *conf) names(plugin string) bool {
	return slices.ContainsFunc(c.list.Plugins, func(p *libcni.PluginConfig) bool { return p.Network.Type == plugin })
}

// has says whether a plugin of the configuration declares the capability.
func (c *conf) has(capability string) bool {
	return slices.ContainsFunc(c.list.Plugins, func(p *libcni.PluginConfig) bool { return p.Network.Capabilities[capability] })
}
