package registry

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// What a failed pull came from. The error's text says the rest.
var (
	// ErrNotFound: the registry has no such name, or doesn't say so to everybody.
	ErrNotFound = errors.New("not found in the registry")
	// ErrUnauthenticated: credentials are missing or wrong (401).
	ErrUnauthenticated = errors.New("registry wants other credentials")
	// ErrDenied: the credentials are known and don't suffice (403).
	ErrDenied = errors.New("registry denies access")
	// ErrUnavailable: no answer, a broken one, or one that says "later" (429, 5xx).
	ErrUnavailable = errors.New("registry unavailable")
	// ErrStalled: less than the minimum rate over a whole window.
	ErrStalled = errors.New("pull makes no progress")
	// ErrConfig: a hosts.toml, certificate or key that can't be used.
	ErrConfig = errors.New("registry configuration")
	// ErrRefused: the registry asked for something that would be unsafe, such as a token server at a private address.
	ErrRefused = errors.New("refused")
)

// failure is an error with a kind, whose text is its own.
type failure struct {
	kind error
	text string
	err  error // may be nil
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() []error {
	if f.err == nil {
		return []error{f.kind}
	}
	return []error{f.kind, f.err}
}

func fail(kind error, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &failure{kind: kind, text: err.Error(), err: errors.Unwrap(err)}
}

// kindOfStatus says what an HTTP status means for a pull.
func kindOfStatus(status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return ErrUnauthenticated
	case status == http.StatusForbidden:
		return ErrDenied
	case status == http.StatusNotFound || status == http.StatusGone:
		return ErrNotFound
	default:
		return ErrUnavailable
	}
}

// secrets are texts that must not show in an error: credentials, tokens, queries of signed URLs. Safe for concurrent use.
type secrets struct {
	mu struct {
		sync.Mutex
		texts []string
	}
}

// shortestSecret: a shorter text can't be taken out of an error without tearing words, and is no secret worth it.
const shortestSecret = 4

func (s *secrets) add(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range texts {
		if len(t) >= shortestSecret && len(s.mu.texts) < 1000 {
			s.mu.texts = append(s.mu.texts, t)
		}
	}
}

var (
	// A quoted URL is cut to its closing quote, a bare one to the next space: with its query, its fragment, and what stands before the @.
	quotedQuery = regexp.MustCompile(`"([^"?#]*)[?#](?:[^"\\]|\\.)*"`)
	bareQuery   = regexp.MustCompile(`(://[^\s"?#]*)[?#][^\s"]*`)
	userinfo    = regexp.MustCompile(`//[^/\s"@]*@`)
)

// clean takes secrets out of a text that a server or a library had a hand in.
func (s *secrets) clean(text string) string {
	s.mu.Lock()
	known := append([]string(nil), s.mu.texts...)
	s.mu.Unlock()
	for _, k := range known {
		text = strings.ReplaceAll(text, k, "[hidden]")
	}
	text = quotedQuery.ReplaceAllString(text, `"$1?…"`)
	text = bareQuery.ReplaceAllString(text, "$1?…")
	text = userinfo.ReplaceAllString(text, "//")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// cleanShort is clean for what a server says at length.
func (s *secrets) cleanShort(text string) string {
	text = s.clean(text)
	const most = 500
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
