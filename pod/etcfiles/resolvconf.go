package etcfiles

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// Limits. Kubelets send at most 3 servers, and 32 domains of 2048 bytes together (the Kubernetes API's own limits).
const (
	maxServers     = 16
	maxSearches    = 32
	maxSearchBytes = 2048
	maxOptions     = 64
	maxOption      = 255
	maxDomain      = 255
)

// DNS is what a resolv.conf(5) says; CRI's DNSConfig.
type DNS struct {
	// Servers are IP addresses, IPv6 ones perhaps with a zone. libc asks the first three.
	Servers []string
	// Searches are domains to try short names in; "." is the root.
	Searches []string
	// Options are words like "ndots:5".
	Options []string
}

// IsZero says that nothing is configured: such a pod gets the node's file, see [HostResolvConf].
func (d DNS) IsZero() bool { return len(d.Servers)+len(d.Searches)+len(d.Options) == 0 }

// Check says whether d can be written. Its error is an ErrInvalid that names the value.
func (d DNS) Check() error {
	if len(d.Servers) > maxServers {
		return fmt.Errorf("%w: %d DNS servers, at most %d are taken", ErrInvalid, len(d.Servers), maxServers)
	}
	for _, server := range d.Servers {
		if err := checkServer(server); err != nil {
			return err
		}
	}
	if len(d.Searches) > maxSearches {
		return fmt.Errorf("%w: %d DNS search domains, at most %d are taken", ErrInvalid, len(d.Searches), maxSearches)
	}
	if n := len(strings.Join(d.Searches, " ")); n > maxSearchBytes {
		return fmt.Errorf("%w: DNS search domains of %d bytes together, at most %d are taken", ErrInvalid, n, maxSearchBytes)
	}
	for _, domain := range d.Searches {
		if err := checkSearch(domain); err != nil {
			return err
		}
	}
	if len(d.Options) > maxOptions {
		return fmt.Errorf("%w: %d DNS options, at most %d are taken", ErrInvalid, len(d.Options), maxOptions)
	}
	for _, option := range d.Options {
		if err := checkOption(option); err != nil {
			return err
		}
	}
	return nil
}

func checkServer(server string) error {
	ip, err := netip.ParseAddr(server)
	if err != nil {
		return fmt.Errorf("%w: DNS server %.100q is no IP address", ErrInvalid, server)
	}
	// netip takes any bytes as a zone; the kernel's are names of links, of at most 15.
	if zone := ip.Zone(); len(zone) > 15 || !printable(zone) {
		return fmt.Errorf("%w: DNS server %.100q: the zone is no link's name", ErrInvalid, server)
	}
	return nil
}

// checkSearch refuses only what would be read as more than one domain. Kubelets copy the node's own list, with words in it that libc takes or passes over
// (".example.com", "~."): pods of such a node are to start.
func checkSearch(domain string) error {
	if domain == "" || len(domain) > maxDomain {
		return fmt.Errorf("%w: DNS search domain %.100q of %d bytes; it must have 1 to %d", ErrInvalid, domain, len(domain), maxDomain)
	}
	if strings.ContainsFunc(domain, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return fmt.Errorf("%w: DNS search domain %.100q: blanks and control characters are not allowed", ErrInvalid, domain)
	}
	return nil
}

func checkOption(option string) error {
	if option == "" || len(option) > maxOption {
		return fmt.Errorf("%w: DNS option %.100q of %d bytes; it must have 1 to %d", ErrInvalid, option, len(option), maxOption)
	}
	if !printable(option) {
		return fmt.Errorf("%w: DNS option %.100q: blanks and what is not printable ASCII are not allowed", ErrInvalid, option)
	}
	return nil
}

// printable: ASCII without blanks.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// ResolvConf gives the content of /etc/resolv.conf for d. An error is an ErrInvalid.
func ResolvConf(d DNS) ([]byte, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	var b strings.Builder
	if len(d.Searches) > 0 {
		b.WriteString("search " + strings.Join(d.Searches, " ") + "\n")
	}
	for _, server := range d.Servers {
		b.WriteString("nameserver " + server + "\n")
	}
	if len(d.Options) > 0 {
		b.WriteString("options " + strings.Join(d.Options, " ") + "\n")
	}
	return []byte(b.String()), nil
}

// HostResolvConf copies the node's file, usually /etc/resolv.conf, for a pod
// without a DNS configuration, as other CRI runtimes do. A node without one
// gives an empty file.
func HostResolvConf(path string) ([]byte, error) { return nodeFile(path) }
