package network

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"podlet/hack/privatetest"
)

func itoa(n int) string { return strconv.Itoa(n) }

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request)
}

func TestLoopback(t *testing.T) {
	down := newNetNS(t, nil)
	links, err := Links(down)
	must(t, err)
	if len(links) != 1 || links[0].Name != "lo" || links[0].Up || !links[0].Loopback || links[0].Index != 1 || len(links[0].Addresses) > 0 || links[0].MAC != nil {
		t.Errorf("a fresh namespace: %+v", links)
	}
	up := newNetNS(t, loopbackUp)
	links, err = Links(up)
	must(t, err)
	if len(links) != 1 || !links[0].Up || links[0].MTU != 65536 {
		t.Errorf("with lo up: %+v", links)
	}
	var got []string
	for _, a := range links[0].Addresses {
		got = append(got, a.String())
	}
	if want := []string{"127.0.0.1/8", "::1/128"}; !slices.Equal(got, want) {
		t.Errorf("addresses of lo %q, want %q", got, want)
	}
	if ips, err := PodIPs(up); err != nil || len(ips) > 0 {
		t.Errorf("PodIPs of a namespace with lo only: %v, %v", ips, err)
	}
	if ips, err := PodIPs(nil); err != nil || ips != nil {
		t.Errorf("PodIPs of the host's network: %v, %v", ips, err)
	}
}

// bridges makes links named d0, d1… with the addresses, in the calling thread's namespace. A bridge is a link that every node's kernel has.
func bridges(addresses ...[]string) func() error {
	return func() error {
		for i, list := range addresses {
			link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "d" + itoa(i), MTU: 1400}}
			if err := netlink.LinkAdd(link); err != nil {
				return fmt.Errorf("add a bridge: %w", err)
			}
			for _, text := range list {
				a, err := netlink.ParseAddr(text)
				if err != nil {
					return err
				}
				a.Flags = unix.IFA_F_NODAD
				if err := netlink.AddrAdd(link, a); err != nil {
					return fmt.Errorf("add %s: %w", text, err)
				}
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestAddresses(t *testing.T) {
	ns := newNetNS(t, func() error {
		if err := loopbackUp(); err != nil {
			return err
		}
		return bridges([]string{"fd00::5/64", "10.1.2.3/24"}, []string{"192.168.7.7/32"})()
	})
	links, err := Links(ns)
	must(t, err)
	if len(links) != 3 || links[1].Name != "d0" || links[2].Name != "d1" || links[1].Loopback || !links[1].Up || len(links[1].MAC) != 6 || links[1].MTU != 1400 {
		t.Fatalf("links %+v", links)
	}
	if !slices.Contains(links[1].Addresses, Address{netip.MustParsePrefix("10.1.2.3/24"), unix.RT_SCOPE_UNIVERSE}) {
		t.Errorf("addresses of d0: %+v", links[1].Addresses)
	}
	ips, err := PodIPs(ns)
	must(t, err)
	want := []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("192.168.7.7"), netip.MustParseAddr("fd00::5")}
	if !slices.Equal(ips, want) {
		t.Errorf("PodIPs %v, want %v: no link-local ones, IPv4 first", ips, want)
	}
}

// TestManyLinks: an answer of more than one message.
func TestManyLinks(t *testing.T) {
	const count = 120
	ns := newNetNS(t, bridges(make([][]string, count)...))
	links, err := Links(ns)
	must(t, err)
	if len(links) != count+1 {
		t.Errorf("%d links, want %d", len(links), count+1)
	}
}

func TestLinksOfNoNamespace(t *testing.T) {
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	if _, err := Links(null); err == nil || !strings.Contains(err.Error(), "setns") {
		t.Errorf("Links(/dev/null): %v", err)
	}
}

// TestThreadsComeHome: TestMain looks at all threads at the end; here many are out at once.
func TestThreadsComeHome(t *testing.T) {
	ns := newNetNS(t, loopbackUp)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if links, err := Links(ns); err != nil || len(links) != 1 {
					t.Errorf("%+v, %v", links, err)
					return
				}
			}
		})
	}
	all.Wait()
	away := inode(t, ns)
	for _, at := range privatetest.Namespaces("net") {
		if at == fmt.Sprintf("net:[%d]", away) {
			t.Error("a thread stayed in the pod's namespace")
		}
	}
}

func TestErrorsOfTheKernel(t *testing.T) {
	sock, err := routeSocket(newNetNS(t, nil))
	must(t, err)
	defer unix.Close(sock)
	// No such request: the kernel answers with an error message.
	if _, err := readTable(sock, 0xff<<2|2, anyFamily, 1); err == nil {
		t.Error("an unknown request was answered")
	}
	// And the socket is still good.
	if _, err := readTable(sock, unix.RTM_GETLINK, anyFamily, 2); err != nil {
		t.Error(err)
	}
}

func BenchmarkLinks(b *testing.B) {
	ns := newNetNS(b, loopbackUp)
	for b.Loop() {
		if _, err := Links(ns); err != nil {
			b.Fatal(err)
		}
	}
}
