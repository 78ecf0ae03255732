package registry

import (
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// pretend takes 127.0.0.1 for a public address.
func pretend(a netip.Addr) addressClass {
	if a.Unmap() == netip.MustParseAddr("127.0.0.1") {
		return classPublic
	}
	return classOf(a)
}

// listenAt serves on a port of its own at an address of this machine.
func listenAt(t testing.TB, address string, f http.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	must(t, err)
	s := httptest.NewUnstartedServer(f)
	s.Listener.Close()
	s.Listener = listener
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func TestClassOf(t *testing.T) {
	for address, want := range map[string]addressClass{
		"8.8.8.8": classPublic, "2001:4860::1": classPublic, "172.32.0.1": classPublic,
		"10.1.2.3": classPrivate, "172.16.0.1": classPrivate, "192.168.0.1": classPrivate, "100.64.0.1": classPrivate, "fd00::1": classPrivate,
		"::ffff:10.0.0.1": classPrivate, "64:ff9b::a00:1": classPrivate, "2002:a00:1::": classPrivate,
		"127.0.0.1": classLoopback, "127.9.9.9": classLoopback, "::1": classLoopback, "::ffff:127.0.0.1": classLoopback, "64:ff9b::7f00:1": classLoopback,
		"169.254.169.254": classLinkLocal, "fe80::1%eth0": classLinkLocal, "fd00:ec2::254": classLinkLocal, "100.100.100.200": classLinkLocal,
		"168.63.129.16": classLinkLocal, "::ffff:169.254.169.254": classLinkLocal,
		"0.0.0.0": classNone, "0.1.2.3": classNone, "::": classNone, "224.0.0.1": classNone, "ff02::1": classNone,
	} {
		if got := classOf(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is %v, want %v", address, got, want)
		}
	}
}

// TestCVE_C8_Dialer: a name that looks harmless is judged by what DNS makes of it.
func TestCVE_C8_Dialer(t *testing.T) {
	inner := listenAt(t, "127.0.0.1", func(http.ResponseWriter, *http.Request) {})
	address := "localhost:" + portOf(inner)
	for _, c := range []struct {
		way     way
		own     addressClass
		proxied bool
		want    error
	}{
		{wayToken, classPublic, false, ErrRefused},
		{wayToken, classPrivate, false, ErrRefused},
		{wayToken, 0, false, ErrRefused},
		{wayRedirect, classPublic, false, ErrRefused},
		{wayToken, classLoopback, false, nil},
		{wayRedirect, classLoopback, false, nil},
		{wayHome, 0, false, nil},
		{wayToken, classPublic, true, nil}, // it is the proxy that is dialed
	} {
		g := newGate(defaultHost("h.test", ""), &secrets{}, classOf, nil)
		g.class.Store(int64(c.own))
		if c.proxied {
			g.proxies.Store(address, true)
		}
		conn, err := g.dialer(c.way, 0)(background, "tcp", address)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil {
			conn.Close()
		}
		if got := addressClass(g.class.Load()); c.way == wayHome && got != classLoopback {
			t.Errorf("after a connection to this machine the registry's address is %v", got)
		}
	}
}

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
