package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"podlet/hack/node"
)

// bridged: two pods on podlet's bridge.
func (s *site) bridged(ctx context.Context, p *page) error {
	for _, name := range []string{"bridged", "peer"} {
		if err := s.addPod(name); err != nil {
			return err
		}
	}
	s.holds(ctx, p, "a pod on the bridge gets ready, as exec, HTTP and TCP probes of its own address say", s.podReady(ctx, "bridged", true))
	s.holds(ctx, p, "another one, too", s.podReady(ctx, "peer", true))
	pod, err := s.kubelet.pod(ctx, "bridged")
	if err != nil {
		return err
	}
	peer, err := s.kubelet.pod(ctx, "peer")
	if err != nil {
		return err
	}
	ips := pod.ips()
	p.check(inSubnets(ips) && inSubnets(peer.ips()) && pod.Status.PodIP == ips[0] && !slices.ContainsFunc(ips, func(ip string) bool { return slices.Contains(peer.ips(), ip) }),
		"the kubelet knows an address of each family for each: %s and %s", strings.Join(ips, " "), strings.Join(peer.ips(), " "))
	s.holds(ctx, p, fmt.Sprintf("the node reaches the pod by each, and by 127.0.0.1:%d", s.hostPort), s.served(ctx, ips))
	for _, from := range []string{"peer", "bridged"} {
		s.holds(ctx, p, fmt.Sprintf("pod %s reaches pod bridged by each, and by the node's port at %s", from, gateway()), func() error {
			for _, address := range append(addresses(ips, "8080"), net.JoinHostPort(gateway(), strconv.Itoa(s.hostPort))) {
				if said, err := s.exec(ctx, from, "app", "probe", "get", address); err != nil || said != "ok\n" {
					return fmt.Errorf("%s: it said %q: %w", address, said, err)
				}
			}
			return nil
		})
	}
	for name, hostname := range map[string]string{"bridged": "bridged-" + nodeName, "peer": "guest"} {
		s.holds(ctx, p, fmt.Sprintf("pod %s is called %s, and finds its address by that name in /etc/hosts", name, hostname), func() error {
			return s.named(ctx, name, hostname)
		})
	}
	hosts := s.noteLines("init-hosts")
	p.check(slices.Equal(s.noteLines("init-hostname"), []string{"bridged-" + nodeName}) && hasHost(hosts, ips[0], "bridged-"+nodeName),
		"so did the pod's init container")
	return nil
}

// bridgedCrashes: a new container in the same pod.
func (s *site) bridgedCrashes(ctx context.Context, p *page) error {
	before, err := s.kubelet.pod(ctx, "bridged")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.note("crash"), nil, 0o644); err != nil {
		return err
	}
	s.holds(ctx, p, "the app on the bridge crashes: it is started again and gets ready, the pod has the same addresses", func() error {
		pod, err := s.kubelet.pod(ctx, "bridged")
		if err != nil {
			return err
		}
		app := pod.container("app")
		if app.RestartCount != 1 || !pod.ready() || !slices.Equal(pod.ips(), before.ips()) {
			return fmt.Errorf("restarts %d, ready %t, addresses %v, before %v", app.RestartCount, pod.ready(), pod.ips(), before.ips())
		}
		return nil
	})
	s.holds(ctx, p, "and is reached by them", s.served(ctx, before.ips()))
	return nil
}

// bridgedBack: podlet was killed and is back; before is how the pod was, probes how often its exec probe had run.
func (s *site) bridgedBack(ctx context.Context, p *page, before *Pod, probes int) error {
	s.holds(ctx, p, "the exec probe of the pod on the bridge runs again, and the pod has been ready all the while", func() error {
		pod, err := s.kubelet.pod(ctx, "bridged")
		if err != nil {
			return err
		}
		if !pod.ready() {
			return fatal{errors.New("the kubelet says that it is not ready")}
		}
		if now := len(s.noteLines("bridged-probes")); now < probes+3 {
			return fmt.Errorf("the probe ran %d times before and %d times till now", probes, now)
		}
		return nil
	})
	pod, err := s.kubelet.pod(ctx, "bridged")
	if err != nil {
		return err
	}
	p.check(pod.ids() == before.ids() && slices.Equal(pod.ips(), before.ips()), "its containers and addresses are those that they were: %s", strings.Join(pod.ips(), " "))
	s.holds(ctx, p, "it is reached by them, and by the node's port", s.served(ctx, before.ips()))
	s.holds(ctx, p, "the other pod reaches it", func() error {
		_, err := s.exec(ctx, "peer", "app", "probe", "get", net.JoinHostPort(before.Status.PodIP, "8080"))
		return err
	})
	return nil
}

// bridgedAnew: a pod whose pause dies is made anew.
func (s *site) bridgedAnew(ctx context.Context, p *page) error {
	before, err := s.kubelet.pod(ctx, "peer")
	if err != nil {
		return err
	}
	pause, err := s.pausePID(ctx, "peer")
	if err != nil {
		return err
	}
	if err := syscall.Kill(pause, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill pause %d: %w", pause, err)
	}
	s.holds(ctx, p, "a pod's pause is killed: the kubelet makes the pod anew, it gets ready and is reached by its new address", func() error {
		pod, err := s.kubelet.pod(ctx, "peer")
		if err != nil {
			return err
		}
		if pod.ids() == before.ids() || !pod.ready() || slices.Equal(pod.ips(), before.ips()) {
			return fmt.Errorf("containers %s, ready %t, addresses %v", pod.ids(), pod.ready(), pod.ips())
		}
		_, err = s.kubelet.get(ctx, "http://"+net.JoinHostPort(pod.Status.PodIP, "8080")+"/")
		return err
	})
	s.holds(ctx, p, "the addresses that it had are free", s.free(before.ips()))
	return nil
}

// bridgedDeleted: what the pod had of the node's network is free again.
func (s *site) bridgedDeleted(ctx context.Context, p *page) error {
	pods, err := s.kubelet.pods(ctx)
	if err != nil {
		return err
	}
	for _, name := range []string{"bridged", "peer"} {
		ips := pods[name].ips()
		if err := s.removePod(name); err != nil {
			return err
		}
		s.holds(ctx, p, fmt.Sprintf("the manifest of pod %s is removed: it ends", name), s.gone(ctx, name))
		s.holds(ctx, p, "and its addresses are free", s.free(ips))
	}
	lines := s.noteLines("bridged")
	p.check(slices.Equal(lines, []string{"app", "app", "app ended"}), "the app on the bridge ended by itself on SIGTERM")
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.hostPort)))
	if err == nil {
		conn.Close()
	}
	p.check(err != nil, "nothing answers at the node's port")
	return nil
}

// inSubnets says whether there is an address of each of the bridge's subnets, in their order.
func inSubnets(ips []string) bool {
	return slices.EqualFunc(ips, node.DefaultSubnets(), func(ip, subnet string) bool {
		a, err := netip.ParseAddr(ip)
		return err == nil && netip.MustParsePrefix(subnet).Contains(a)
	})
}

// gateway is the node's own address on the bridge.
func gateway() string { return netip.MustParsePrefix(node.DefaultSubnets()[0]).Addr().Next().String() }

func addresses(ips []string, port string) []string {
	var list []string
	for _, ip := range ips {
		list = append(list, net.JoinHostPort(ip, port))
	}
	return list
}

// served is nil when pod bridged serves its page to the node, at these addresses and at the node's port.
func (s *site) served(ctx context.Context, ips []string) func() error {
	return func() error {
		for _, address := range append(addresses(ips, "8080"), net.JoinHostPort("127.0.0.1", strconv.Itoa(s.hostPort))) {
			if page, err := s.kubelet.get(ctx, "http://"+address+"/"); err != nil || page != "ok\n" {
				return fmt.Errorf("%s: the page is %q: %w", address, page, err)
			}
		}
		return nil
	}
}

// free is nil when podlet keeps none of the addresses for a pod.
func (s *site) free(ips []string) func() error {
	return func() error {
		leases, err := os.ReadDir(s.path("state/network/leases"))
		if err != nil {
			return err
		}
		if len(ips) == 0 {
			return fatal{errors.New("the pod had no address")}
		}
		for _, lease := range leases {
			// POD@10.98.0.2@fd00::2
			if held := strings.Split(lease.Name(), "@"); slices.ContainsFunc(held, func(ip string) bool { return slices.Contains(ips, ip) }) {
				return fmt.Errorf("there is a lease %s", lease.Name())
			}
		}
		return nil
	}
}

// named is nil when the pod has that host name, and its address stands beside it in /etc/hosts.
func (s *site) named(ctx context.Context, name, hostname string) error {
	pod, err := s.kubelet.pod(ctx, name)
	if err != nil {
		return err
	}
	said, err := s.exec(ctx, name, "app", "hostname")
	if err != nil || said != hostname+"\n" {
		return fmt.Errorf("hostname says %q: %w", said, err)
	}
	hosts, err := s.exec(ctx, name, "app", "cat", "/etc/hosts")
	if err != nil {
		return err
	}
	for _, ip := range pod.ips() {
		if !hasHost(strings.Split(hosts, "\n"), ip, hostname) {
			return fmt.Errorf("%s %s is not in /etc/hosts:\n%s", ip, hostname, hosts)
		}
	}
	return nil
}

// hasHost says whether a line of hosts(5) gives the address this name.
func hasHost(lines []string, ip, name string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		f := strings.Fields(line)
		return len(f) > 1 && f[0] == ip && slices.Contains(f[1:], name)
	})
}
