package bridge

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestDump: an interrupted list is asked for again, but not for ever, and other errors are the caller's.
func TestDump(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct {
		interrupted int
		then, want  error
		calls       int
	}{{0, nil, nil, 1}, {3, nil, nil, 4}, {2, other, other, 3}, {1000, nil, netlink.ErrDumpInterrupted, dumpTries}} {
		calls := 0
		got, err := dump(func() ([]int, error) {
			calls++
			if calls <= c.interrupted {
				return []int{0}, netlink.ErrDumpInterrupted
			}
			return []int{calls}, c.then
		})
		if !errors.Is(err, c.want) || calls != c.calls || err == nil && got[0] != calls {
			t.Errorf("%d interruptions: %v, %v after %d calls", c.interrupted, got, err, calls)
		}
	}
}

// TestNodeChangesWhileItIsListed: links and addresses of others come and go, as those of other pods do, and no look at the node fails for it.
func TestNodeChangesWhileItIsListed(t *testing.T) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	// So many that the kernel gives them in several pieces, between which there may be a change.
	for i := range 600 {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(127, 98, byte(i/200), byte(1+i%200)), Mask: net.CIDRMask(32, 32)}}
		if err := netlink.AddrAdd(lo, a); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := netlink.AddrDel(lo, a); err != nil {
				t.Error(err)
			}
		})
	}
	var all sync.WaitGroup
	stop := make(chan struct{})
	for worker := range 2 {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				a := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(127, 99, byte(worker), byte(1+i%250)), Mask: net.CIDRMask(32, 32)}}
				if err := errors.Join(netlink.AddrAdd(lo, a), netlink.AddrDel(lo, a)); err != nil {
					t.Error(err)
					return
				}
				link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("churn%d", worker)}}
				if err := errors.Join(netlink.LinkAdd(link), netlink.LinkDel(link)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	looks := 100
	if testing.Short() {
		looks = 20
	}
	for range looks {
		if _, err := otherReaches(0); err != nil {
			t.Error(err)
			break
		}
		if _, err := nodeAddresses(); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	all.Wait()
}
