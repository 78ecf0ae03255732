package spec

import (
	"fmt"
	"slices"
	"strings"
)

// maxImageVolumes bounds the system calls that an image can make a launch of.
const maxImageVolumes = 128

// ImageVolumes gives those of an image's VOLUMEs that are to be made directories of the container's own, parents first: absolute and clean.
//
// Left out are the root, whatever is at or below one of the container's mounts (that volume is what is there then), and what is at or below a mount of podlet's
// own (/proc, /sys, /dev, /etc/hosts, …), which no image has a say in.
func ImageVolumes(c *Container, i *Image, m *Machine) ([]string, error) {
	if len(i.Volumes) > maxImageVolumes {
		return nil, fmt.Errorf("the image has %d volumes: at most %d", len(i.Volumes), maxImageVolumes)
	}
	taken := []string{"/proc"}
	for _, v := range c.Mounts {
		taken = append(taken, v.Target)
	}
	for _, a := range defaults(c, m) {
		taken = append(taken, a.Target)
	}
	var list []string
	for _, v := range i.Volumes {
		below := func(target string) bool { return v == target || strings.HasPrefix(v, target+"/") }
		if v != "/" && !slices.ContainsFunc(taken, below) {
			list = append(list, v)
		}
	}
	slices.SortStableFunc(list, func(a, b string) int { return depth(a) - depth(b) })
	return list, nil
}
