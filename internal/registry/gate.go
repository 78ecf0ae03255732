package registry

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"podlet/internal/image"
)

// way says what a request that leaves the host is for.
type way int

const (
	wayHome     way = iota // to the host itself
	wayToken               // to its token server, with credentials
	wayRedirect            // where it redirected a download to, without
)

// gate is the http.RoundTripper through which everything for one host of a pull goes, the authentication library's requests and redirects as well. It decides
// what may go where; whatever a library thinks.
type gate struct {
	home    *Host
	secrets *secrets
	classOf func(netip.Addr) addressClass
	proxy   func(*url.URL) (*url.URL, error)

	// class is that of the first address of the host that answered a connection. Later ones don't change it: they may be a rebound name.
	class atomic.Int64
	// proxies are the addresses of the proxies in use: what is dialed there is not the address of the URL.
	proxies sync.Map

	// carry gives what a request goes out by; tests answer there.
	carry func(transportKey) http.RoundTripper

	mu struct {
		sync.Mutex
		transports map[transportKey]*http.Transport
	}
}

type transportKey struct {
	way way
	// sameName: the URL's host name is the home's, whatever the port.
	sameName bool
}

// dataURL is the context key of the URL of the manifest or blob that a request is for; all others are the token server's.
type dataURL struct{}

func newGate(h *Host, s *secrets, classOf func(netip.Addr) addressClass, proxy func(*url.URL) (*url.URL, error)) *gate {
	g := &gate{home: h, secrets: s, classOf: classOf, proxy: proxy}
	g.mu.transports = map[transportKey]*http.Transport{}
	g.carry = func(k transportKey) http.RoundTripper { return g.transport(k) }
	return g
}

// close drops the connections nobody uses.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.mu.transports {
		t.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	w := g.wayOf(req)
	if err := g.check(req, w); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	out := req.Clone(req.Context())
	if v := out.Header.Get("Authorization"); v != "" {
		_, token, _ := strings.Cut(v, " ")
		g.secrets.add(v, token)
	}
	switch w {
	case wayHome:
		for k, v := range g.home.Header {
			out.Header[k] = slices.Clone(v)
		}
	case wayRedirect:
		out.Header = http.Header{}
		for _, k := range []string{"Accept", "Range", "User-Agent", "Accept-Encoding"} {
			if v := req.Header.Values(k); len(v) > 0 {
				out.Header[k] = v
			}
		}
	}
	out.Header.Del("Referer")
	g.hide(out.URL)
	answer, err := g.carry(transportKey{w, strings.EqualFold(out.URL.Hostname(), g.home.URL.Hostname())}).RoundTrip(out)
	if err != nil {
		return nil, err
	}
	// The library looks at the request of an answer to see who asked for credentials, by the chain of its redirects.
	answer.Request = req
	if err := g.checkAnswer(answer, w); err != nil {
		answer.Body.Close()
		return nil, err
	}
	return answer, nil
}

func (g *gate) wayOf(req *http.Request) way {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	data, _ := req.Context().Value(dataURL{}).(string)
	if first.URL.String() != data {
		return wayToken
	}
	if sameOrigin(req.URL, g.home.URL) {
		return wayHome
	}
	return wayRedirect
}

// check refuses what is unsafe to ask at all. Addresses are checked when they are dialed.
func (g *gate) check(req *http.Request, w way) error {
	u := req.URL
	if u.Scheme != "https" && u.Scheme != "http" {
		return fail(ErrRefused, "the registry leads to a URL that is neither http nor https")
	}
	if w == wayHome {
		return nil
	}
	what := "redirects to"
	if w == wayToken {
		what = "has its token server at"
	}
	if u.Scheme == "http" && g.home.URL.Scheme == "https" {
		return fail(ErrRefused, "the registry %s %s, without TLS though it has TLS itself", what, shown(u))
	}
	if u.User != nil {
		return fail(ErrRefused, "the registry %s %s, with a user in the URL", what, shown(u))
	}
	if w == wayToken && req.Response != nil && !sameOrigin(req.URL, req.Response.Request.URL) {
		return fail(ErrRefused, "the token server %s redirects to %s: credentials don't follow", shown(req.Response.Request.URL), shown(u))
	}
	if strings.EqualFold(u.Hostname(), g.home.URL.Hostname()) {
		return nil
	}
	// What a proxy connects to can't be seen, but what the URL says can.
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		return g.allow(g.classOf(a), w, u.Host)
	}
	if name := strings.ToLower(u.Hostname()); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return g.allow(classLoopback, w, u.Host)
	}
	return nil
}

// allow says whether a server at an address of class c may be asked.
func (g *gate) allow(c addressClass, w way, address string) error {
	switch {
	case c == classNone:
	case w == wayHome || c == classPublic || c == addressClass(g.class.Load()):
		return nil
	case w == wayRedirect && c == classPrivate:
		// Without credentials, and what comes back must have the right digest: a store of blobs inside the site.
		return nil
	}
	if w == wayToken {
		return fail(ErrRefused, "the registry has its token server at %s, which is a %s address and the registry's own is not", address, c)
	}
	return fail(ErrRefused, "the registry leads to %s, which is a %s address and its own is not", address, c)
}

// checkAnswer looks at an answer before the libraries do: their errors would tell what it holds.
func (g *gate) checkAnswer(r *http.Response, w way) error {
	if location := r.Header.Get("Location"); location != "" && r.StatusCode/100 == 3 {
		u, err := r.Request.URL.Parse(location)
		if err != nil {
			return fail(ErrUnavailable, "the server redirects to something that is no URL")
		}
		g.hide(u)
	}
	if r.StatusCode != http.StatusUnauthorized || w != wayHome {
		return nil
	}
	// Of several challenges the library takes the first, and a server may begin with one that nobody here can answer.
	challenges := r.Header.Values("Www-Authenticate")
	for _, scheme := range []string{"bearer", "basic"} {
		i := slices.IndexFunc(challenges, func(c string) bool {
			s, _, _ := strings.Cut(c, " ")
			return strings.EqualFold(s, scheme)
		})
		if i > 0 {
			r.Header["Www-Authenticate"] = []string{challenges[i]}
			break
		}
	}
	return nil
}

// hide makes everything of a URL a secret that may be one.
func (g *gate) hide(u *url.URL) {
	if u.User != nil {
		password, _ := u.User.Password()
		g.secrets.addRecent(u.User.Username(), password)
	}
	if u.RawQuery == "" {
		return
	}
	g.secrets.addRecent(u.RawQuery)
	for key, values := range u.Query() {
		if key != "scope" && key != "service" && key != "ns" {
			g.secrets.addRecent(values...)
		}
	}
}

// shown is what an error may say of a URL.
func shown(u *url.URL) string { return u.Scheme + "://" + u.Host }

func (g *gate) transport(k transportKey) *http.Transport {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.mu.transports[k]; t != nil {
		return t
	}
	timeout := g.home.DialTimeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	var protocols http.Protocols
	// One connection a layer: with HTTP/2 all would share one.
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Proxy: g.proxyFor, DialContext: g.dialer(k.way, timeout), TLSClientConfig: g.tls(k), TLSHandshakeTimeout: timeout,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: headerTimeout,
		MaxResponseHeaderBytes: 64 << 10, Protocols: &protocols,
		// A layer is compressed already, and its digest is that of the bytes as they come.
		DisableCompression: true,
	}
	g.mu.transports[k] = t
	return t
}

// headerTimeout is how long a server may think about its answer: one in front of another registry may fetch a whole layer first.
const headerTimeout = 2 * time.Minute

// tls: the CAs that somebody installed for the host also vouch for its token server and its store of blobs, which are often of the same site. Not to verify,
// and the client's own certificate, are for the host's name alone.
func (g *gate) tls(k transportKey) *tls.Config {
	if g.home.TLS == nil {
		return nil
	}
	c := g.home.TLS.Clone()
	if !k.sameName {
		c.InsecureSkipVerify = false
		c.Certificates = nil
	}
	return c
}

func (g *gate) proxyFor(req *http.Request) (*url.URL, error) {
	if g.proxy == nil {
		return nil, nil
	}
	u, err := g.proxy(req.URL)
	if u != nil {
		g.hide(u)
		g.proxies.Store(proxyAddress(u), true)
	}
	return u, err
}

func proxyAddress(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	port := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	return net.JoinHostPort(u.Hostname(), port)
}

// dialer checks the address that a name became, after DNS and before the first packet.
func (g *gate) dialer(w way, timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		// It runs in a goroutine of net/http's, which recovers from nothing.
		defer func() {
			if v := recover(); v != nil {
				if conn != nil {
					conn.Close()
				}
				conn, err = nil, fail(image.ErrPanic, "connect to %s: %v: %v", address, image.ErrPanic, v)
			}
		}()
		_, toProxy := g.proxies.Load(address)
		d := net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
		d.ControlContext = func(_ context.Context, _, to string, _ syscall.RawConn) error {
			if w == wayHome || toProxy {
				return nil
			}
			a, err := netip.ParseAddrPort(to)
			if err != nil {
				return fail(ErrRefused, "no IP address to connect to")
			}
			return g.allow(g.classOf(a.Addr()), w, address)
		}
		conn, err = d.DialContext(ctx, network, address)
		if err == nil && w == wayHome && !toProxy {
			if a, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
				g.class.CompareAndSwap(0, int64(g.classOf(a.Addr())))
			}
		}
		return conn, err
	}
}
