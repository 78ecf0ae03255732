package etcfiles

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHostname(t *testing.T) {
	for _, name := range []string{"web", "web-0", "web-0.web.default.svc.cluster.local", "_x", "0", "A", "a_b", strings.Repeat("a", 64)} {
		if got, err := Hostname(name); err != nil || string(got) != name+"\n" {
			t.Errorf("Hostname(%q) = %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"-a", ".a", "a b", "a\n", "a\nb", "a\rb", "a\x00b", "a\tb", "a\x1b[2J", "a\x7f", "a/b", "a#b", "a:b", "naïve", strings.Repeat("a", 65), strings.Repeat("a", 1<<20)} {
		got, err := Hostname(name)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("Hostname(%.50q) = %.50q, %v", name, got, err)
		} else if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\n\r\x00\x1b\x7f") {
			t.Errorf("Hostname(%.50q): the message carries the value on: %.500q", name, err)
		}
		if _, err := Hosts(false, name, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("Hosts(%.50q): %v", name, err)
		}
	}
}

func TestNodesOwn(t *testing.T) {
	node, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Hostname(""); err != nil || string(got) != node+"\n" {
		t.Errorf("Hostname of a pod without a name: %q, %v, the node is %q", got, err, node)
	}
	if err := CheckHostname(""); !errors.Is(err, ErrInvalid) {
		t.Errorf("CheckHostname of an empty name: %v", err)
	}
	if _, err := Hosts(false, "", nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("Hosts of an empty name: %v", err)
	}
	for path, content := range map[string]func() ([]byte, error){
		"/etc/hosts":       func() ([]byte, error) { return Hosts(true, "", nil) },
		"/etc/resolv.conf": func() ([]byte, error) { return HostResolvConf("/etc/resolv.conf") },
	} {
		got, err := content()
		want, _ := os.ReadFile(path)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %q, %v, want the node's own %q", path, got, err, want)
		}
	}
}

func ExampleHosts() {
	content, _ := Hosts(false, "web-0.web.default.svc", []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00::5")})
	fmt.Print(strings.ReplaceAll(string(content), "\t", " "))
	// Output:
	// 127.0.0.1 localhost
	// ::1 localhost ip6-localhost ip6-loopback
	// fe00:: ip6-localnet
	// ff00:: ip6-mcastprefix
	// ff02::1 ip6-allnodes
	// ff02::2 ip6-allrouters
	// 10.1.2.3 web-0.web.default.svc web-0
	// fd00::5 web-0.web.default.svc web-0
}

func TestHostsAddresses(t *testing.T) {
	content, err := Hosts(false, "web", []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("fe80::1%e\nth0")})
	if err != nil || !strings.HasSuffix(string(content), "\n10.0.0.1\tweb\nfe80::1\tweb\n") {
		t.Errorf("%q, %v", content, err)
	}
	if _, err := Hosts(false, "web", []netip.Addr{{}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an empty address: %v", err)
	}
}

func ExampleResolvConf() {
	content, _ := ResolvConf(DNS{
		Servers:  []string{"10.96.0.10", "fe80::1%eth0"},
		Searches: []string{"default.svc.cluster.local", "svc.cluster.local", "."},
		Options:  []string{"ndots:5", "edns0"},
	})
	fmt.Print(string(content))
	// Output:
	// search default.svc.cluster.local svc.cluster.local .
	// nameserver 10.96.0.10
	// nameserver fe80::1%eth0
	// options ndots:5 edns0
}

func many(n int, s string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}

func TestResolvConf(t *testing.T) {
	for _, good := range []DNS{
		{},
		{Servers: []string{"::1"}},
		{Searches: []string{"_tcp.example.com.", ".example.com", "~.", "münchen.de", "."}},
		{Options: []string{"timeout:3", "single-request-reopen", "no-tld-query", `odd=!"#`}},
		{Servers: many(16, "10.0.0.1"), Searches: many(32, "example.com"), Options: many(64, "edns0")},
	} {
		if _, err := ResolvConf(good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []struct {
		dns  DNS
		want string
	}{
		{DNS{Servers: []string{""}}, "no IP address"},
		{DNS{Servers: []string{"dns.example.com"}}, "no IP address"},
		{DNS{Servers: []string{"10.0.0.1\nnameserver 6.6.6.6"}}, "no IP address"},
		{DNS{Servers: []string{"10.0.0.1 "}}, "no IP address"},
		{DNS{Servers: []string{"10.0.0.1:53"}}, "no IP address"},
		{DNS{Servers: []string{"fe80::1%e\nnameserver 6.6.6.6"}}, "zone"},
		{DNS{Servers: []string{"fe80::1%e h"}}, "zone"},
		{DNS{Servers: []string{"fe80::1%" + strings.Repeat("e", 16)}}, "zone"},
		{DNS{Servers: many(17, "10.0.0.1")}, "at most 16"},
		{DNS{Searches: []string{""}}, "1 to 255"},
		{DNS{Searches: []string{"a b"}}, "blanks"},
		{DNS{Searches: []string{"a\nb"}}, "blanks"},
		{DNS{Searches: []string{"a\u2028b"}}, "blanks"},
		{DNS{Searches: []string{"a\x00"}}, "control"},
		{DNS{Searches: []string{"a\x1b[2J"}}, "control"},
		{DNS{Searches: []string{strings.Repeat("a", 256)}}, "1 to 255"},
		{DNS{Searches: many(33, "a")}, "at most 32"},
		{DNS{Searches: many(32, strings.Repeat("a", 64))}, "at most 2048"},
		{DNS{Options: []string{""}}, "1 to 255"},
		{DNS{Options: []string{"ndots:5 rotate"}}, "blanks"},
		{DNS{Options: []string{"ndots:5\nnameserver 6.6.6.6"}}, "blanks"},
		{DNS{Options: []string{"a\u2028b"}}, "blanks"},
		{DNS{Options: []string{strings.Repeat("a", 256)}}, "1 to 255"},
		{DNS{Options: many(65, "edns0")}, "at most 64"},
	} {
		content, err := ResolvConf(bad.dns)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%.100q: %q, %v, want ErrInvalid with %q", fmt.Sprint(bad.dns), content, err, bad.want)
		} else if strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 400 {
			t.Errorf("the message carries the value on: %.500q", err)
		}
	}
}

func TestIsZero(t *testing.T) {
	if !(DNS{}).IsZero() {
		t.Error("an empty configuration is none")
	}
	for _, d := range []DNS{{Servers: []string{"::1"}}, {Searches: []string{"."}}, {Options: []string{"edns0"}}} {
		if d.IsZero() {
			t.Errorf("%+v is one", d)
		}
	}
}

// FuzzResolvConf: what is accepted has the lines that were asked for, and no others.
func FuzzResolvConf(f *testing.F) {
	f.Add("10.0.0.1", "example.com", "ndots:5")
	f.Add("fe80::1%x\n", "a\nb", "c d")
	f.Fuzz(func(t *testing.T, server, search, option string) {
		content, err := ResolvConf(DNS{Servers: []string{server}, Searches: []string{search}, Options: []string{option}})
		if err != nil {
			return
		}
		if want := "search " + search + "\nnameserver " + server + "\noptions " + option + "\n"; string(content) != want || strings.Count(want, "\n") != 3 || len(strings.Fields(want)) != 6 {
			t.Errorf("%q", content)
		}
	})
}

func TestNodeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if got, err := nodeFile(path); err != nil || len(got) != 0 {
		t.Errorf("an absent file: %q, %v", got, err)
	}
	const text = "# comment\nnameserver 127.0.0.53\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := nodeFile(path); err != nil || string(got) != text {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.Truncate(path, maxNodeFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := nodeFile(path); err == nil {
		t.Error("a huge file was copied")
	}
	if _, err := nodeFile(filepath.Dir(path)); err == nil {
		t.Error("a directory was copied")
	}
}
