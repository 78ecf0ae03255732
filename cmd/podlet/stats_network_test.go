package main

import (
	"io"
	"net"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestStatsNetwork: eth0's counters grow by what the pod sends and gets; what goes through lo is nobody's.
func TestStatsNetwork(t *testing.T) {
	n := commonNode(t)
	p := n.newPod()
	usage := func() *cri.NetworkInterfaceUsage {
		u := n.podStats(p.id).Linux.Network
		if u.GetDefaultInterface().GetName() != "eth0" || len(u.Interfaces) != 0 || u.Timestamp == 0 {
			t.Fatalf("network %v", u)
		}
		return u.DefaultInterface
	}
	gateway := n.gateways()[0].String()
	exchange := func(address string, bytes int) {
		t.Helper()
		server, err := net.Listen("tcp", address+":0")
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		go func() {
			c, err := server.Accept()
			if err == nil {
				io.CopyN(c, c, int64(bytes))
				c.Close()
			}
		}()
		n.in(p.id, func() error {
			c, err := net.DialTimeout("tcp", server.Addr().String(), hangTime)
			if err != nil {
				return err
			}
			defer c.Close()
			go c.Write(make([]byte, bytes))
			_, err = io.CopyN(io.Discard, c, int64(bytes))
			return err
		})
	}
	before := usage()
	const sent = 300_000
	exchange(gateway, sent)
	var after *cri.NetworkInterfaceUsage
	var rx, tx uint64
	n.soon("all that was exchanged counts", func() bool {
		after = usage()
		rx, tx = after.RxBytes.Value-before.RxBytes.Value, after.TxBytes.Value-before.TxBytes.Value
		return rx >= sent && tx >= sent
	})
	if rx > 2*sent || tx > 2*sent {
		t.Errorf("%d bytes received and %d sent where it was %d each", rx, tx, sent)
	}
	if after.RxErrors == nil || after.TxErrors == nil {
		t.Errorf("no counters of errors: %v", after)
	}
	quiet := usage()
	n.in(p.id, func() error {
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			return err
		}
		defer c.Close()
		for range 300 {
			c.Write(make([]byte, 1000))
		}
		return nil
	})
	if u := usage(); u.TxBytes.Value-quiet.TxBytes.Value > 100_000 {
		t.Errorf("traffic on lo counted as %d bytes of eth0", u.TxBytes.Value-quiet.TxBytes.Value)
	}

	host := n.newPod(func(c *cri.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Network = cri.NamespaceMode_NODE
	})
	if u := n.podStats(host.id).Linux.Network; u != nil {
		t.Errorf("network of a pod in the node's: %v", u)
	}
	// A pod that was stopped has neither; its namespace must not live on for its counters' sake, which nothingLeft looks at.
	if _, err := n.StopPodSandbox(n.ctx(), &cri.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
		t.Fatal(err)
	}
	if s := n.podStats(p.id).Linux; s.Network != nil || s.Cpu != nil || len(s.Containers) > 0 {
		t.Errorf("stats of a stopped pod: %v", s)
	}
}
