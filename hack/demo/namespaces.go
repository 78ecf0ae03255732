package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
)

// sharing says what each type of namespace must be in a pod of this kind.
var sharing = []struct {
	kind string
	// shared: pause, web and client have one. Else web and client each have their own.
	shared bool
	// host: it is the node's.
	host bool
}{
	{kind: "net", shared: true},
	{kind: "ipc", shared: true},
	{kind: "uts", shared: true},
	{kind: "mnt"},
	{kind: "pid"},
	{kind: "cgroup"},
	{kind: "user", shared: true, host: true},
}

// namespaces shows who shares what, from /proc/PID/ns.
func namespaces(_ context.Context, p *page, pod *pair) error {
	p.title("Namespaces, by the kernel's inodes")
	t := tabwriter.NewWriter(p.w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "     type\tnode\tpause %d\tweb %d\tclient %d\t\n", pod.pausePID, pod.webPID, pod.clientPID)
	type seen struct{ node, pause, web, client string }
	all := map[string]seen{}
	for _, s := range sharing {
		var inodes [4]string
		for i, pid := range []int{os.Getpid(), pod.pausePID, pod.webPID, pod.clientPID} {
			link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, s.kind))
			if err != nil {
				return err
			}
			inodes[i] = link[len(s.kind)+2 : len(link)-1]
		}
		all[s.kind] = seen{inodes[0], inodes[1], inodes[2], inodes[3]}
		fmt.Fprintf(t, "     %s\t%s\t%s\t%s\t%s\t\n", s.kind, inodes[0], inodes[1], inodes[2], inodes[3])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range sharing {
		n := all[s.kind]
		one := n.pause == n.web && n.web == n.client
		switch {
		case s.shared && s.host:
			p.check(one && n.pause == n.node, "%s is the node's: this pod asked for no user namespace", s.kind)
		case s.shared:
			p.check(one && n.pause != n.node, "%s is the pod's: pause holds it, both containers share it, the node has another", s.kind)
		default:
			own := n.web != n.client && n.web != n.pause && n.client != n.pause && n.web != n.node && n.client != n.node
			p.check(own, "%s is each container's own", s.kind)
		}
	}
	return nil
}
