package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"podlet/internal/image"
)

// documentTypes are what podlet can make an image of. (What doesn't fit its media type, package image refuses.)
var documentTypes = []string{
	"application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
}

// remote is an image.Remote: one name, and the hosts to ask for it.
type remote struct {
	name                      string
	registry, repository, tag string
	clients                   []*client
	watch                     *watch
	progress                  *progress
	secrets                   *secrets
	log                       *slog.Logger

	verifiers       string // directory
	verifierTimeout time.Duration
	verified        bool // documents are asked for one after the other

	mu struct {
		sync.Mutex
		// sent is who sent a blob's first byte; wrong is whose bytes were of no use.
		sent  map[image.Digest]*client
		wrong map[image.Digest][]*client
	}
}

// Document implements image.Remote.
func (r *remote) Document(ctx context.Context, d image.Digest, most int64) (data []byte, mediaType string, err error) {
	what := "manifests/" + r.tag
	if !d.IsZero() {
		what = "manifests/" + d.String()
	}
	r.watch.enter()
	err = r.each(ctx, d.IsZero(), what, func(c *client) error {
		data, mediaType, err = r.document(ctx, c, d, what, most)
		return err
	})
	r.watch.leave()
	if err == nil && !r.verified {
		// The first is the one that the name leads to; all others have their digests from it.
		r.verified = true
		err = r.verify(ctx, data, mediaType)
	}
	return data, mediaType, err
}

// document asks one host. One that breaks off is asked anew if there is no other.
func (r *remote) document(ctx context.Context, c *client, d image.Digest, what string, most int64) ([]byte, string, error) {
	wait := firstWait
	for repeat := 0; ; repeat++ {
		answer, err := c.get(ctx, r.request(c, what, documentTypes))
		if err != nil {
			return nil, "", err
		}
		data, mediaType, err := r.readDocument(ctx, c, answer, d, most)
		if !errors.Is(err, ErrUnavailable) || !c.last || repeat == maxRepeats {
			return data, mediaType, err
		}
		if err := c.sleep(ctx, wait); err != nil {
			return nil, "", err
		}
		wait *= 2
	}
}

// readDocument reads an answer and closes it.
func (r *remote) readDocument(ctx context.Context, c *client, answer *http.Response, d image.Digest, most int64) ([]byte, string, error) {
	defer answer.Body.Close()
	at := shown(c.host.URL)
	if answer.ContentLength > most {
		return nil, "", fail(image.ErrInvalid, "%s: a document of %d bytes: at most %d", at, answer.ContentLength, most)
	}
	data, err := io.ReadAll(io.LimitReader(&watchedReader{answer.Body, r.watch}, most+1))
	if err != nil {
		return nil, "", c.explainRead(ctx, err)
	}
	if int64(len(data)) > most {
		return nil, "", fail(image.ErrInvalid, "%s: a document of more than %d bytes", at, most)
	}
	if text := answer.Header.Get("Docker-Content-Digest"); text != "" {
		told, err := image.ParseDigest(text)
		if err != nil {
			return nil, "", fail(image.ErrInvalid, "%s: header Docker-Content-Digest: %w", at, err)
		}
		if !told.Matches(data) {
			return nil, "", fail(image.ErrInvalid, "%s: the document doesn't have the digest that the registry's header says", at)
		}
	}
	if !d.IsZero() && !d.Matches(data) {
		return nil, "", fail(image.ErrInvalid, "%s: the document doesn't have the digest %s", at, d)
	}
	return data, documentType(answer.Header), nil
}

// documentType gives the media type that the answer names, "" where it names one that says nothing.
func documentType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	switch t {
	case "application/json", "application/octet-stream", "text/plain":
		return ""
	}
	return t
}

// Blob implements image.Remote.
func (r *remote) Blob(ctx context.Context, d image.Digest, size int64) (io.ReadCloser, error) {
	b := &blob{ctx: ctx, r: r, digest: d, what: "blobs/" + d.String(), size: size, counted: r.progress.read(d), repeats: maxRepeats}
	r.watch.enter()
	if err := b.open(); err != nil {
		r.watch.leave()
		return nil, err
	}
	return b, nil
}

// Wrong implements image.Remote: who sent the blob is not asked for it again in this pull. Of one that came from two hosts the first is blamed first.
func (r *remote) Wrong(d image.Digest) (again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.mu.sent[d]
	if c == nil {
		return false
	}
	delete(r.mu.sent, d)
	r.mu.wrong[d] = append(r.mu.wrong[d], c)
	again = slices.ContainsFunc(r.clients, func(c *client) bool { return c.host.Pull && !slices.Contains(r.mu.wrong[d], c) })
	r.log.Warn("what a host sent for a blob is malformed or has another digest", "host", shown(c.host.URL), "why", c.host.Why, "blob", d, "others to ask", again)
	return again
}

func (r *remote) sends(d image.Digest, c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.sent[d] = c
}

func (r *remote) isWrong(d image.Digest, c *client) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.mu.wrong[d], c)
}

func (r *remote) request(c *client, what string, accept []string) request {
	q := request{repository: r.repository, what: what, accept: accept}
	if c.host.Mirror {
		q.namespace = r.registry
	}
	return q
}

// each tries the hosts in order until one has it; those that can't be reached come last. The error tells of all, and is of the kind of the last host's: that
// is the registry itself, which knows best.
func (r *remote) each(ctx context.Context, resolve bool, what string, try func(c *client) error) error {
	var order, down []*client
	for _, c := range r.clients {
		switch {
		case resolve && !c.host.Resolve || !resolve && !c.host.Pull:
		case c.down.Load():
			down = append(down, c)
		default:
			order = append(order, c)
		}
	}
	order = append(order, down...)
	if len(order) == 0 {
		return fail(ErrConfig, "%s: no host may be asked: no capability in its hosts.toml (%s) allows it", what, r.clients[len(r.clients)-1].host.Why)
	}
	var texts []string
	var deciding error
	for _, c := range order {
		err := try(c)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		texts = append(texts, err.Error())
		if deciding == nil || c == r.clients[len(r.clients)-1] {
			deciding = err
		}
	}
	return &failure{kind: kindOf(deciding), text: fmt.Sprintf("%s: %s", what, strings.Join(texts, "; ")), err: deciding}
}

var kinds = []error{image.ErrPanic, ErrNotFound, ErrUnauthenticated, ErrDenied, ErrUnavailable, ErrStalled, ErrConfig, ErrSignature, ErrRefused, image.ErrInvalid}

func kindOf(err error) error {
	if i := slices.IndexFunc(kinds, func(k error) bool { return errors.Is(err, k) }); i >= 0 {
		return kinds[i]
	}
	return ErrUnavailable
}
