package registry

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
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
	// ErrSignature: one of the node's verifiers did not accept the image, or couldn't be asked.
	ErrSignature = errors.New("image not accepted")
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
		kept   map[string]bool
		recent []string // what a server brings, the latest last
	}
}

// mostRecent bounds what servers can bring: each redirect of each layer has a query of its own.
const mostRecent = 1000

// shortestSecret: a shorter text can't be taken out of an error without tearing words, and is no secret worth it.
const shortestSecret = 4

// add keeps secrets for the whole pull.
func (s *secrets) add(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.kept == nil {
		s.mu.kept = map[string]bool{}
	}
	for _, t := range texts {
		if len(t) >= shortestSecret {
			s.mu.kept[t] = true
		}
	}
}

// addRecent keeps secrets until so many others came that no error can be about them any more.
func (s *secrets) addRecent(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range texts {
		if len(t) >= shortestSecret && !s.mu.kept[t] && !slices.Contains(s.mu.recent, t) {
			s.mu.recent = append(s.mu.recent, t)
		}
	}
	if over := len(s.mu.recent) - mostRecent; over > 0 {
		s.mu.recent = slices.Delete(s.mu.recent, 0, over)
	}
}

// all gives the secrets, the longest first: one may be a part of another.
func (s *secrets) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Concat(slices.Collect(maps.Keys(s.mu.kept)), s.mu.recent)
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return list
}

var (
	// A quoted URL is cut to its closing quote, a bare one to the next space: with its query, its fragment, and what stands before the @.
	quotedQuery = regexp.MustCompile(`"([^"?#]*)[?#](?:[^"\\]|\\.)*"`)
	bareQuery   = regexp.MustCompile(`(://[^\s"?#]*)[?#][^\s"]*`)
	userinfo    = regexp.MustCompile(`//[^/\s"@]*@`)
)

// clean takes secrets out of a text that a server or a library had a hand in.
func (s *secrets) clean(text string) string {
	for _, k := range s.all() {
		text = strings.ReplaceAll(text, k, "[hidden]")
	}
	text = quotedQuery.ReplaceAllString(text, `"$1?…"`)
	text = bareQuery.ReplaceAllString(text, "$1?…")
	text = userinfo.ReplaceAllString(text, "//")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
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
