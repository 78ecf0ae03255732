package registry

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	dockerHub       = "docker.io"
	dockerHubServer = "registry-1.docker.io"
)

// Host is one server that is asked for a registry's images, and how.
type Host struct {
	// URL is scheme, host[:port] and the path before "<repository>/manifests/…": "https://registry-1.docker.io/v2".
	URL *url.URL
	// Pull: it is asked for what has a digest. Resolve: it is asked what a tag means.
	Pull, Resolve bool
	// Mirror: it serves the registry's images under its own name, and is told the registry's by "?ns=".
	Mirror bool
	// Header is sent to this host with every request, and to no other.
	Header http.Header
	// TLS is nil for http. Its InsecureSkipVerify and Certificates count for this host name alone, its RootCAs for token servers and redirects as well.
	TLS *tls.Config
	// Files are what TLS was read from; empty where it is the default, or nil.
	Files TLSFiles
	// Proxy is for all that is asked on the host's account, whatever the environment says; nil: the environment decides. A proxy with TLS is met with TLS as above.
	Proxy *url.URL
	// DialTimeout is that of one connection; 0: 30 s.
	DialTimeout time.Duration
	// Why says where this host comes from: "FILE:LINE", or a default in words.
	Why string
}

// defaultHost is the registry itself when nothing is configured.
func defaultHost(registry, why string) *Host {
	return &Host{URL: defaultURL(registry), Pull: true, Resolve: true, Why: why}
}

func defaultURL(registry string) *url.URL {
	if registry == dockerHub {
		registry = dockerHubServer
	}
	return &url.URL{Scheme: defaultScheme(registry), Host: registry, Path: "/v2"}
}

// defaultScheme is http for this machine itself, but for port 443, and https for all else.
func defaultScheme(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), ""
	}
	if port == "443" {
		return "https"
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return "http"
	}
	return "https"
}

// isRegistry reports whether the address is the registry's own, so that it needn't be told whose images are meant.
func isRegistry(address, registry string) bool { return serverName(address) == serverName(registry) }

// sameOrigin: scheme, host and port are equal.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && hostPort(a) == hostPort(b)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}
