package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/streamclient"
)

// forward begins a session of connections into the pod.
func (n *node) forward(pod string, ports ...int32) string {
	n.t.Helper()
	r, err := n.PortForward(n.ctx(), &cri.PortForwardRequest{PodSandboxId: pod, Port: ports})
	if err != nil {
		n.t.Fatalf("PortForward: %v", err)
	}
	return r.Url
}

func (n *node) openForward(pod string) *streamclient.Forward {
	n.t.Helper()
	f, err := streamclient.OpenForward(n.forward(pod))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(f.Kill)
	return f
}

// serve listens inside the pod and gives each connection to handle.
func (n *node) serve(pod, network, address string, handle func(*net.TCPConn)) {
	n.t.Helper()
	n.in(pod, func() error {
		l, err := net.Listen(network, address)
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
				go handle(c.(*net.TCPConn))
			}
		}()
		return nil
	})
}

func echoAll(c *net.TCPConn) {
	defer c.Close()
	io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
}

// goodbye says what it heard once the client has said all.
func goodbye(c *net.TCPConn) {
	defer c.Close()
	text, _ := io.ReadAll(c)
	fmt.Fprintf(c, "heard %d", len(text))
}

// TestPortForward: connections to the pod's own loopback, IPv4 first, both directions to their own ends.
func TestPortForward(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	n.serve(p.id, "tcp4", "127.0.0.1:80", echoAll)
	n.serve(p.id, "tcp6", "[::1]:80", goodbye) // who comes here did not try IPv4
	n.serve(p.id, "tcp6", "[::1]:81", goodbye)
	tunnel, err := streamclient.OpenTunnel(n.forward(p.id, 80))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tunnel.Kill)
	text := bytes.Repeat([]byte("forward "), 1<<18) // 2 MiB
	for name, f := range map[string]*streamclient.Forward{"SPDY": n.openForward(p.id), "tunnel": tunnel} {
		// All before anything is sent: behind megabytes of it an answer may take longer than the client waits.
		var open []*streamclient.Connection
		for range 20 {
			c, err := f.Dial(80)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			open = append(open, c)
		}
		var together sync.WaitGroup
		for _, c := range open {
			together.Go(func() {
				go func() {
					io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{bytes.NewReader(text)})
					c.Close()
				}()
				got, err := io.ReadAll(c)
				if said, _ := c.Err(); !bytes.Equal(got, text) || err != nil || said != "" {
					t.Errorf("%s: %d bytes of %d, %v, %q", name, len(got), len(text), err, said)
				}
			})
		}
		together.Wait()
		c, err := f.Dial(81)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "12345")
		c.Close()
		if got, err := io.ReadAll(c); string(got) != "heard 5" || err != nil {
			t.Errorf("%s: by IPv6 and with a half-close: %q, %v", name, got, err)
		}
		// Nobody listens there: that is one connection's error.
		if c, err = f.Dial(82); err != nil {
			t.Fatal(err)
		}
		if said, err := c.Err(); err != nil || !strings.Contains(said, "127.0.0.1:82") || !strings.Contains(said, "[::1]:82") || !strings.Contains(said, "refused") {
			t.Errorf("%s: a port of nobody: %q, %v", name, said, err)
		}
		if c, err = f.Dial(81); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if got, _ := io.ReadAll(c); string(got) != "heard 0" {
			t.Errorf("%s: after an error: %q", name, got)
		}
		f.Close()
	}
}

// TestPortForwardToNobody: a connection to a port that nobody listens on is refused, though the kernel may pick that very port as its source, and make
// it a connection to itself.
func TestPortForwardToNobody(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	n.in(p.id, func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40003"), 0)
	})
	f := n.openForward(p.id)
	for i := range 60 {
		port := 40000 + i%4
		c, err := f.Dial(port)
		if err != nil {
			t.Fatal(err)
		}
		if said, err := c.Err(); err != nil || !strings.Contains(said, "refused") {
			t.Fatalf("a connection to port %d of nobody, the %d. one: %q, %v", port, i+1, said, err)
		}
	}
	// No trace of one keeps an app from the port.
	for port := 40000; port < 40004; port++ {
		n.in(p.id, func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
		})
	}
}

// TestPortForwardReset: an app that resets each connection ends that connection, and not the session (kubernetes#74551).
func TestPortForwardReset(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	n.serve(p.id, "tcp4", "127.0.0.1:80", func(c *net.TCPConn) {
		c.Write([]byte("x"))
		c.Read(make([]byte, 1))
		c.SetLinger(0)
		c.Close()
	})
	n.serve(p.id, "tcp4", "127.0.0.1:81", echoAll)
	f := n.openForward(p.id)
	connections := 1000
	if testing.Short() {
		connections = 100
	}
	stuff := bytes.Repeat([]byte("y"), 32<<10)
	var pool sync.WaitGroup
	for worker := range 10 {
		pool.Go(func() {
			for i := range connections / 10 {
				c, err := f.Dial(80)
				if err != nil {
					t.Errorf("%d.%d: %v", worker, i, err)
					return
				}
				// More than anybody takes.
				for range 3 {
					c.Write(stuff)
				}
				io.Copy(io.Discard, c)
				if said, err := c.Err(); said != "" || err != nil {
					t.Errorf("%d.%d: %q, %v", worker, i, said, err)
				}
				c.Reset()
			}
		})
	}
	pool.Wait()
	select {
	case <-f.Done():
		t.Error("the session ended")
	default:
	}
	c, err := f.Dial(81)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "still here")
	c.Close()
	if got, err := io.ReadAll(c); string(got) != "still here" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestPortForwardWebSocket: a WebSocket's channels belong to the ports that the request names.
func TestPortForwardWebSocket(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	n.serve(p.id, "tcp4", "127.0.0.1:80", func(c *net.TCPConn) {
		defer c.Close()
		b := make([]byte, 5)
		io.ReadFull(c, b)
		fmt.Fprintf(c, "heard %s", b)
	})
	for port, want := range map[int32]string{80: "P\x00heard hello", 82: "R\x00"} {
		f, err := streamclient.OpenForwardWebSocket(n.forward(p.id, port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Close)
		said := make(chan string, 1)
		go func() {
			text, _ := io.ReadAll(f.Report)
			said <- string(text)
		}()
		io.WriteString(f, "hello")
		if got, err := io.ReadAll(f.Data); string(got) != want || err != nil {
			t.Errorf("port %d: %q, %v", port, got, err)
		}
		if s := <-said; strings.Contains(s, "refused") != (port == 82) {
			t.Errorf("port %d: %q", port, s)
		}
	}
}

// TestPortForwardHostNetwork: the loopback of a pod in the node's network is the node's.
func TestPortForwardHostNetwork(t *testing.T) {
	n := commonNode(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go echoAll(c.(*net.TCPConn))
		}
	}()
	port := l.Addr().(*net.TCPAddr).Port
	for name, reached := range map[string]bool{"host": true, "pod": false} {
		p := n.newPod(func(c *cri.PodSandboxConfig) {
			if name == "host" {
				c.Linux.SecurityContext.NamespaceOptions.Network = cri.NamespaceMode_NODE
			}
		})
		c, err := n.openForward(p.id).Dial(port)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "to the node")
		c.Close()
		if got, _ := io.ReadAll(c); (string(got) == "to the node") != reached {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestPortForwardRefused(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	stopped := n.newPod()
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: stopped.id}); err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		what    string
		request *cri.PortForwardRequest
		code    codes.Code
		names   []string
	}{
		{"unknown pod", &cri.PortForwardRequest{PodSandboxId: "no-such"}, codes.NotFound, []string{"no-such"}},
		{"stopped pod", &cri.PortForwardRequest{PodSandboxId: stopped.id}, codes.FailedPrecondition, []string{"not ready"}},
		{"port 0", &cri.PortForwardRequest{PodSandboxId: p.id, Port: []int32{0}}, codes.InvalidArgument, []string{"port 0"}},
		{"port 70000", &cri.PortForwardRequest{PodSandboxId: p.id, Port: []int32{70000}}, codes.InvalidArgument, []string{"70000"}},
	} {
		_, err := n.PortForward(n.ctx(), e.request)
		if err == nil {
			t.Errorf("%s: succeeds", e.what)
			continue
		}
		n.fails(err, e.code, e.names...)
	}
}
