package bridge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

var (
	subnet4 = netip.MustParsePrefix("10.88.0.0/16")
	subnet6 = netip.MustParsePrefix("fd00:88::/64")
)

func testConfig(t testing.TB, subnets ...netip.Prefix) Config {
	return Config{Dir: filepath.Join(t.TempDir(), "net"), Bridge: "podbr0", Subnets: subnets, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// openNetwork opens a network that is deleted at the end of the test.
func openNetwork(t testing.TB, cfg Config) *Network {
	t.Helper()
	n, err := Open(cfg)
	must(t, err)
	t.Cleanup(func() {
		if _, err := n.Recover(context.Background(), nil); err != nil {
			t.Error(err)
		}
		if err := n.takeDown(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// takeDown is for a network that nobody closed yet.
func (n *Network) takeDown() error {
	return errors.Join(n.Close(), TakeDown(context.Background(), n.cfg.Dir, false))
}

type testPod struct {
	id string
	ns *os.File
	Result
}

func newID() string {
	b := make([]byte, 32)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func addPod(t testing.TB, n *Network, ports ...PortMapping) *testPod {
	t.Helper()
	p := &testPod{id: newID(), ns: newNetNS(t)}
	var err error
	p.Result, err = n.Add(context.Background(), p.id, there(p.ns), Want{Ports: ports})
	must(t, err)
	return p
}

// there is a namespace that need not be waited for.
func there(ns *os.File) func(context.Context) (*os.File, error) {
	return func(ctx context.Context) (*os.File, error) { return ns, ctx.Err() }
}

func (p *testPod) at(i int, port uint16) string {
	return netip.AddrPortFrom(p.IPs[i], port).String()
}

// serve answers each line or datagram on the port, in the namespace, with name and the client's address.
func serve(t testing.TB, ns *os.File, network, address, name string) {
	t.Helper()
	inside(t, ns, func() error {
		if network == "tcp" {
			l, err := net.Listen(network, address)
			if err != nil {
				return err
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					fmt.Fprintf(c, "%s %s", name, c.RemoteAddr().(*net.TCPAddr).IP)
					c.Close()
				}
			}()
			return nil
		}
		c, err := net.ListenPacket(network, address)
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			b := make([]byte, 100)
			for {
				_, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				c.WriteTo(fmt.Appendf(nil, "%s %s", name, from.(*net.UDPAddr).IP), from)
			}
		}()
		return nil
	})
}

// patience bounds a client's wait for an answer that is due. On a busy machine the kernel's own workers may bring the test's wires up late, and what was
// sent before is lost: by TCP it is sent anew by the kernel, by UDP by askFrom, every second.
const patience = time.Minute

// ask asks a server and gives its answer.
func ask(ns *os.File, network, address string) (string, error) {
	return askFrom(ns, network, "", address, patience)
}

func askFrom(ns *os.File, network, from, address string, wait time.Duration) (answer string, err error) {
	err = tryInside(ns, func() error {
		d := net.Dialer{Timeout: wait}
		if from != "" {
			if network == "tcp" {
				d.LocalAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))
			} else {
				d.LocalAddr = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))
			}
		}
		c, err := d.Dial(network, address)
		if err != nil {
			return err
		}
		defer c.Close()
		b := make([]byte, 100)
		for deadline := time.Now().Add(wait); ; {
			turn := deadline
			if network == "udp" {
				if _, err := c.Write([]byte("x")); err != nil {
					return err
				}
				// Who asks from the same port again would take a second answer for the next one's.
				if again := time.Now().Add(time.Second); from == "" && again.Before(deadline) {
					turn = again
				}
			}
			c.SetReadDeadline(turn)
			n, err := c.Read(b)
			if errors.Is(err, os.ErrDeadlineExceeded) && turn.Before(deadline) {
				continue
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			answer = string(b[:n])
			return err
		}
	})
	return answer, err
}

func expect(t testing.TB, what string, ns *os.File, network, address, want string) {
	t.Helper()
	if got, err := ask(ns, network, address); err != nil || got != want {
		t.Errorf("%s: %s %s: answer %q, %v; want %q", what, network, address, got, err, want)
	}
}

// errnoOf gives the number of the kernel's error in err; 0 if there is none.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}
