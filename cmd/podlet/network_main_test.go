package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/internal/network"
)

// inOwnNode says in the environment which process runs the tests in a network namespace of its own. Tests that a test starts have another.
const inOwnNode = "PODLET_TEST_OWN_NETWORK"

// ownNode makes a network namespace with lo up and executes the tests again in it: to them, and to the podlets that they start, it is the
// node's. Bridges, rules and switches of the kernel go with it when the tests end, however they end.
func ownNode() error {
	self := fmt.Sprint(os.Getpid())
	if os.Getenv(inOwnNode) == self {
		return nil
	}
	// Whoever calls execve gives the new program its namespaces, and its threads are all others' end.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	if err := os.Setenv(inOwnNode, self); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args, os.Environ())
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(socket)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("switch lo on: %w", err)
	}
	return nil
}

// network are podlet's flags for a bridge and subnets that no other node of the tests has.
func (n *node) network() []string {
	high, low := n.number>>8, n.number&0xff
	return []string{
		"--bridge", fmt.Sprintf("podlet%d", n.number),
		"--pod-subnets", fmt.Sprintf("10.%d.%d.0/24,fd00:10:%x::/64", 100+high, low, n.number),
		// Whatever CNI configuration this machine has.
		"--network", "bridge",
	}
}

// subnets are those of the node's pods, gateways the node's own addresses in them, IPv4 first.
func (n *node) subnets() []netip.Prefix {
	var list []netip.Prefix
	for s := range strings.SplitSeq(n.network()[3], ",") {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func (n *node) gateways() []netip.Addr {
	var list []netip.Addr
	for _, s := range n.subnets() {
		list = append(list, s.Addr().Next())
	}
	return list
}

// addresses are the pod's in its status.
func (n *node) addresses(pod string) []string {
	n.t.Helper()
	r, err := n.PodSandboxStatus(n.ctx(), &cri.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil {
		n.t.Fatal(err)
	}
	var list []string
	if ip := r.Status.Network.GetIp(); ip != "" {
		list = append(list, ip)
	}
	for _, ip := range r.Status.Network.GetAdditionalIps() {
		list = append(list, ip.Ip)
	}
	return list
}

// leases are the names of the files of pods that have addresses.
func (n *node) leases() []string {
	n.t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.dir, "state/network/leases"))
	if err != nil {
		n.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// in runs do in the pod's network namespace.
func (n *node) in(pod string, do func() error) {
	n.t.Helper()
	ns, err := os.Open("/var/run/netns/" + pod)
	if err != nil {
		n.t.Fatal(err)
	}
	defer ns.Close()
	if err := network.Inside(ns, do); err != nil {
		n.t.Fatal(err)
	}
}

// echo serves in the pod: it says name and gives back what it is sent, over TCP and UDP.
func (n *node) echo(pod string, port int, name string) {
	n.t.Helper()
	n.in(pod, func() error {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		n.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					fmt.Fprintf(c, "%s\n", name)
					io.Copy(c, c)
				}()
			}
		}()
		u, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		n.t.Cleanup(func() { u.Close() })
		go func() {
			b := make([]byte, 100)
			for {
				size, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				u.WriteTo(append([]byte(name+" "), b[:size]...), from)
			}
		}()
		return nil
	})
}

// talk connects to an echo server of TCP and checks its name.
func (n *node) talk(address, name string) net.Conn {
	n.t.Helper()
	c, err := net.DialTimeout("tcp", address, hangTime)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	n.hears(c, name+"\n")
	return c
}

func (n *node) hears(c net.Conn, want string) {
	n.t.Helper()
	c.SetReadDeadline(time.Now().Add(hangTime))
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		n.t.Errorf("%s says %q, %v; want %q", c.RemoteAddr(), b, err, want)
	}
}

// reaches asks an echo server over TCP or UDP.
func (n *node) reaches(proto, address, name string) {
	n.t.Helper()
	if proto == "tcp" {
		n.talk(address, name).Close()
		return
	}
	// UDP may lose what is sent.
	n.soon(address+" answers over UDP", func() bool {
		c, err := net.Dial("udp", address)
		if err != nil {
			n.t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("?")); err != nil {
			n.t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		b := make([]byte, 100)
		size, err := c.Read(b)
		if got := string(b[:size]); err == nil && got != name+" ?" {
			n.t.Fatalf("%s says %q, want %q", address, got, name+" ?")
		}
		return err == nil
	})
}

func refused(address string) error {
	c, err := net.DialTimeout("tcp", address, hangTime)
	if err == nil {
		c.Close()
		return fmt.Errorf("%s answers", address)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return nil
}

// condition is the CRI's network condition.
func (n *node) condition() *cri.RuntimeCondition {
	n.t.Helper()
	r, err := n.Status(n.ctx(), &cri.StatusRequest{})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, c := range r.Status.Conditions {
		if c.Type == cri.NetworkReady {
			return c
		}
	}
	n.t.Fatalf("no condition of the network: %v", r)
	return nil
}
