package image

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// bootModules are what the initramfs loads, with all that they depend on: the bus, the disk and the file system of the root.
var bootModules = []string{"virtio_pci", "virtio_blk", "ext4"}

// kernelVersion is the version of the one kernel unpacked below root.
func kernelVersion(root string) (string, error) {
	found, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("the kernel's package has %d files boot/vmlinuz-*, not one", len(found))
	}
	return strings.TrimPrefix(filepath.Base(found[0]), "vmlinuz-"), nil
}

// indexModules writes modules.dep and its kin, which the kernel's package leaves to its maintainer script.
func indexModules(ctx context.Context, root, version string) error {
	return within(ctx, root, "/sbin/depmod", "-a", version)
}

// modulePaths gives the files of bootModules and of what they need, below the kernel's module directory, each after all that it depends on.
func modulePaths(root, version string) ([]string, error) {
	dir := filepath.Join(root, "usr/lib/modules", version)
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	soft, err := os.ReadFile(filepath.Join(dir, "modules.softdep"))
	if err != nil {
		return nil, err
	}
	return loadOrder(bootModules, string(dep), string(builtin), string(soft))
}

// loadOrder resolves modules by the text of modules.dep ("a.ko: b.ko c.ko"), modules.builtin and modules.softdep ("softdep ext4 pre: crc32c").
func loadOrder(modules []string, dep, builtin, soft string) ([]string, error) {
	path := map[string]string{}    // of a module by its name
	needs := map[string][]string{} // paths by path
	for line := range strings.Lines(dep) {
		file, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		path[moduleName(file)] = file
		needs[file] = strings.Fields(rest)
	}
	built := map[string]bool{}
	for line := range strings.Lines(builtin) {
		built[moduleName(strings.TrimSpace(line))] = true
	}
	wants := map[string][]string{} // names by name: soft dependencies, which may be aliases that are no module's name
	for line := range strings.Lines(soft) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[0] != "softdep" || fields[2] != "pre:" {
			continue
		}
		for _, name := range fields[3:] {
			if name == "post:" {
				break
			}
			wants[fields[1]] = append(wants[fields[1]], strings.ReplaceAll(name, "-", "_"))
		}
	}
	var order []string
	seen := map[string]bool{}
	var visit func(file string)
	visit = func(file string) {
		if seen[file] {
			return
		}
		seen[file] = true
		for _, name := range wants[moduleName(file)] {
			// crc32c is an alias; its generic implementation is the module that always works.
			for _, candidate := range []string{name, name + "_generic"} {
				if found, ok := path[candidate]; ok {
					visit(found)
				}
			}
		}
		for _, needed := range needs[file] {
			visit(needed)
		}
		order = append(order, file)
	}
	for _, name := range modules {
		file, ok := path[name]
		if !ok {
			if built[name] {
				continue
			}
			return nil, fmt.Errorf("this kernel has no module %s", name)
		}
		visit(file)
	}
	return order, nil
}

func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}
