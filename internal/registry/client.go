package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// client asks one host for one pull.
type client struct {
	host    *Host
	gate    *gate
	auth    *auth.Client
	secrets *secrets
	// last: no other host can be asked, so that a repeat is worth waiting for.
	last bool
	// down: it can't be connected to; the other hosts are asked first.
	down  atomic.Bool
	sleep func(ctx context.Context, d time.Duration) error
}

const (
	maxRepeats    = 4
	firstWait     = 250 * time.Millisecond // before the first repeat; it doubles
	maxRetryAfter = time.Minute
	maxRedirects  = 5
	maxErrorBytes = 8 << 10
)

func newClient(h *Host, g *gate, cred auth.Credential, agent string, s *secrets) *client {
	c := &client{host: h, gate: g, secrets: s, sleep: sleep}
	inner := &http.Client{Transport: g, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fail(ErrUnavailable, "more than %d redirects", maxRedirects)
		}
		return nil
	}}
	c.auth = &auth.Client{
		Client: inner, Header: http.Header{"User-Agent": {agent}}, Cache: auth.NewCache(), ClientID: "podlet",
		Credential: auth.StaticCredential(h.URL.Host, cred),
		// The gate checks realms, at the moment they are connected to.
		BlockedRealmPrefixes: []netip.Prefix{},
	}
	return c
}

// request is one GET of the API.
type request struct {
	repository string
	what       string // "manifests/latest", "blobs/sha256:…": below the repository
	namespace  string // the registry that a mirror is asked for
	accept     []string
	from       int64 // first byte wanted
}

// get asks, repeatedly where that may help. The caller closes the answer's body; its status is 200 or 206.
func (c *client) get(ctx context.Context, r request) (*http.Response, error) {
	wait := firstWait
	for repeat := 0; ; repeat++ {
		answer, later, err := c.once(ctx, r)
		if err == nil {
			return answer, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			c.down.Store(true)
			return nil, err
		}
		if !c.last || repeat >= maxRepeats || later < 0 || later > maxRetryAfter {
			return nil, err
		}
		if err := c.sleep(ctx, max(wait, later)); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

// sleep waits, or gives the context's cause.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// once asks once. later is negative where asking again makes no sense, else what the server wants to be left alone for.
func (c *client) once(ctx context.Context, r request) (answer *http.Response, later time.Duration, err error) {
	u := *c.host.URL
	u.Path += "/" + r.repository + "/" + r.what
	if r.namespace != "" {
		u.RawQuery = url.Values{"ns": {r.namespace}}.Encode()
	}
	ctx = context.WithValue(ctx, dataURL{}, u.String())
	ctx = auth.WithScopesForHost(ctx, u.Host, auth.ScopeRepository(r.repository, auth.ActionPull))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, -1, fail(ErrConfig, "%s: no request can be made for %s", shown(&u), r.repository)
	}
	req.Header["Accept"] = r.accept
	if len(r.accept) > 1 {
		// Some registries read the first header line alone.
		req.Header["Accept"] = []string{strings.Join(r.accept, ", ")}
	}
	req.Header.Set("Accept-Encoding", "identity")
	if r.from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", r.from))
	}
	answer, err = c.auth.Do(req)
	if err != nil {
		err = c.explain(ctx, err)
		if errors.Is(err, ErrUnavailable) {
			return nil, 0, err
		}
		return nil, -1, err
	}
	if answer.StatusCode == http.StatusOK || r.from > 0 && answer.StatusCode == http.StatusPartialContent {
		return answer, 0, nil
	}
	defer answer.Body.Close()
	later = -1
	switch answer.StatusCode {
	case http.StatusTooManyRequests, http.StatusRequestTimeout,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		later = retryAfter(answer.Header.Get("Retry-After"))
	}
	text := fmt.Sprintf("%s: %s", shown(c.host.URL), status(answer.StatusCode))
	if says := c.says(answer.Body); says != "" {
		text += ": " + says
	}
	return nil, later, &failure{kind: kindOfStatus(answer.StatusCode), text: text}
}

// retryAfter reads RFC 9110's Retry-After: seconds or a date. 0 for none.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

func status(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// says gives what an error answer of the distribution specification says, cleaned.
func (c *client) says(body io.Reader) string {
	data, err := io.ReadAll(io.LimitReader(body, maxErrorBytes))
	if err != nil {
		return ""
	}
	var answer struct {
		Errors errcode.Errors `json:"errors"`
	}
	if json.Unmarshal(data, &answer) != nil {
		return ""
	}
	return c.secrets.cleanShort(inShort(answer.Errors))
}

func inShort(list errcode.Errors) string {
	var all []string
	for i, e := range list {
		if i == 3 {
			break
		}
		all = append(all, strings.TrimSuffix(e.Code+": "+e.Message, ": "))
	}
	return strings.Join(all, "; ")
}

// explain gives an error of the libraries a kind and a text of ours: theirs hold URLs with all that is in them.
func (c *client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	at := shown(c.host.URL)
	var own *failure
	if errors.As(err, &own) {
		return &failure{kind: own.kind, text: at + ": " + own.text, err: own.err}
	}
	var token *errcode.ErrorResponse
	if errors.As(err, &token) {
		text := fmt.Sprintf("%s: token server %s: %s", at, shown(token.URL), status(token.StatusCode))
		if says := c.secrets.cleanShort(inShort(token.Errors)); says != "" {
			text += ": " + says
		}
		return &failure{kind: kindOfStatus(token.StatusCode), text: text}
	}
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return &failure{kind: ErrUnauthenticated, text: at + ": it wants a user and a password, and there are none for it: give the pod an imagePullSecret"}
	}
	var network *url.Error
	if errors.As(err, &network) {
		text := at + ": " + c.secrets.cleanShort(network.Err.Error())
		if strings.Contains(network.Err.Error(), "server gave HTTP response to HTTPS client") {
			text += "; if it has no TLS, its hosts.toml must say http://"
		}
		return &failure{kind: ErrUnavailable, text: text, err: network.Err}
	}
	return &failure{kind: ErrUnauthenticated, text: at + ": authentication: " + c.secrets.cleanShort(err.Error())}
}
