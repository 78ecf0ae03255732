package registry

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/distribution/reference"
	"oras.land/oras-go/v2/registry/remote/auth"

	"podlet/internal/image"
)

// plan is what a pull of a name will do, from what the disk and the environment say now. A pull is made of it, and an [Explanation] tells it: they can't differ.
type plan struct {
	name                 string // "host/repository:tag" or "host/repository@digest"
	registry, repository string
	tag, digest          string // one of them
	hosts                []plannedHost
	from                 string
	warnings             []string
}

// plannedHost is a host, and what of the credentials it may see.
type plannedHost struct {
	*Host
	credential auth.Credential
}

func (p *Puller) plan(name string, c Credentials) (*plan, error) {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", image.ErrInvalid, err)
	}
	l := &plan{name: name, registry: reference.Domain(named), repository: reference.Path(named)}
	if _, err := url.Parse("https://" + l.registry); err != nil {
		// Names allow more between brackets than addresses do.
		return nil, fail(image.ErrInvalid, "%q is no address of a registry", l.registry)
	}
	if tagged, ok := named.(reference.Tagged); ok {
		l.tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		l.digest = digested.Digest().String()
	}
	found, err := hostsOf(l.registry, p.CertsDirs)
	if err != nil {
		return nil, err
	}
	l.from, l.warnings = found.from, found.warnings
	for _, h := range found.hosts {
		credential, err := c.forHost(h.URL.Host)
		if err != nil {
			return nil, err
		}
		l.hosts = append(l.hosts, plannedHost{h, credential})
	}
	return l, nil
}

// Explanation says which hosts a pull would ask, in order, and why. Nobody was asked for it.
type Explanation struct {
	// Name is the full one; Tag or Digest is "".
	Name       string `json:"name"`
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
	// From is the hosts.toml or the directory that was read, or says why there is none.
	From  string          `json:"from"`
	Hosts []ExplainedHost `json:"hosts"`
	// Verifiers are the programs that must accept the image.
	Verifiers []string `json:"verifiers,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

// ExplainedHost is one host of an [Explanation].
type ExplainedHost struct {
	URL string `json:"url"`
	// AskedForTag: what the tag leads to. AskedForBlobs: what has a digest, which is all else.
	AskedForTag   bool `json:"askedForTag"`
	AskedForBlobs bool `json:"askedForBlobs"`
	// Namespace is what a mirror is told of whose images are meant.
	Namespace string       `json:"namespace,omitempty"`
	TLS       ExplainedTLS `json:"tls"`
	// Headers are the names of headers that hosts.toml adds; their values may be secrets.
	Headers []string `json:"headers,omitempty"`
	// Proxy is the URL, without a user, of the proxy that hosts.toml or the environment names; "": none.
	Proxy       string               `json:"proxy,omitempty"`
	DialTimeout string               `json:"dialTimeout,omitempty"`
	Credentials ExplainedCredentials `json:"credentials"`
	// Why is "FILE:LINE", or a default in words.
	Why string `json:"why"`
}

// ExplainedTLS says how a host proves who it is.
type ExplainedTLS struct {
	// Used is false for http.
	Used bool `json:"used"`
	// Verified is false with skip_verify.
	Verified bool `json:"verified"`
	// CA are files besides the machine's own CAs; ClientCertificates are what the host is shown.
	CA                 []string `json:"ca,omitempty"`
	ClientCertificates []string `json:"clientCertificates,omitempty"`
}

// ExplainedCredentials says what a host that asks gets to see.
type ExplainedCredentials struct {
	// Kind is "none", "user and password", "identity token" or "registry token".
	Kind string `json:"kind"`
	User string `json:"user,omitempty"`
	Why  string `json:"why"`
}

// Explain says what Pull would do. It asks nobody and changes nothing. Errors are those that Pull would give before it asks: ErrConfig, ErrSignature, image.ErrInvalid.
func (p *Puller) Explain(ref string, c Credentials) (Explanation, error) {
	name, err := image.NormalizeName(ref)
	if err != nil {
		return Explanation{}, err
	}
	l, err := p.plan(name, c)
	if err != nil {
		return Explanation{}, fmt.Errorf("pull %s: %w", name, err)
	}
	e := Explanation{Name: name, Registry: l.registry, Repository: l.repository, Tag: l.tag, Digest: l.digest, From: l.from, Warnings: l.warnings}
	if e.Verifiers, err = verifierFiles(p.Verifiers); err != nil {
		return Explanation{}, fmt.Errorf("pull %s: %w", name, err)
	}
	for _, h := range l.hosts {
		x := ExplainedHost{
			URL: h.URL.String(), AskedForTag: l.tag != "" && h.Resolve, AskedForBlobs: h.Pull, TLS: h.explainTLS(), Why: h.Why,
			Credentials: c.explain(h.URL.Host, h.credential),
		}
		if h.Mirror {
			x.Namespace = l.registry
		}
		for name := range h.Header {
			x.Headers = append(x.Headers, name)
		}
		slices.Sort(x.Headers)
		if h.DialTimeout != 0 {
			x.DialTimeout = h.DialTimeout.String()
		}
		if x.Proxy, err = p.explainProxy(h.Host); err != nil {
			e.Warnings = append(e.Warnings, err.Error())
		}
		e.Hosts = append(e.Hosts, x)
	}
	return e, nil
}

func (h *Host) explainTLS() ExplainedTLS {
	t := ExplainedTLS{Used: h.URL.Scheme == "https", CA: h.Files.CA}
	t.Verified = t.Used && !h.Files.SkipVerify
	for _, pair := range h.Files.Client {
		t.ClientCertificates = append(t.ClientCertificates, pair[0])
	}
	return t
}

func (p *Puller) explainProxy(h *Host) (string, error) {
	proxyFor := p.proxyOf(h)
	if proxyFor == nil {
		return "", nil
	}
	proxy, err := proxyFor(h.URL)
	if err != nil {
		return "", fmt.Errorf("the proxy of the environment for %s: %w", shown(h.URL), err)
	}
	if proxy == nil {
		return "", nil
	}
	return shown(proxy), nil
}

// explain says what the host at address gets to see, which forHost gave.
func (c Credentials) explain(address string, given auth.Credential) ExplainedCredentials {
	x := ExplainedCredentials{Kind: "none", Why: "none were given"}
	switch {
	case given.AccessToken != "":
		x.Kind = "registry token"
	case given.RefreshToken != "":
		x.Kind = "identity token"
	case given != auth.EmptyCredential:
		x.Kind, x.User = "user and password", given.Username
	}
	switch {
	case c == Credentials{}:
	case c.ServerAddress == "":
		x.Why = "they name no server, so that every host of this pull may see them"
	case serverName(c.ServerAddress) == serverName(address):
		x.Why = "they are for this server"
	default:
		x.Why = fmt.Sprintf("those given are for %s", serverName(c.ServerAddress))
	}
	return x
}
