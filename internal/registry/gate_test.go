package registry

import (
	"context"
	"net/http"
	"net/url"
	"testing"
)

// TestCVE_C8_Gate: what a request that leaves the host has besides a download's own headers goes no further than the gate, whatever a library put there.
func TestCVE_C8_Gate(t *testing.T) {
	const home = "https://h.test/v2/app/blobs/x"
	for _, c := range []struct {
		to    string
		leaks bool
	}{
		{"https://h.test/other", true}, {"https://H.test:443/other", true},
		{"https://cdn.test/x", false}, {"https://h.test:8443/x", false}, {"https://h.test.cdn.test/x", false},
	} {
		asked := 0
		client, _ := stub("https://h.test/v2", Credentials{}, func(_ way, q *http.Request) *http.Response {
			asked++
			for _, name := range []string{"Authorization", "Cookie", "X-Team", "Proxy-Authorization", "Referer"} {
				if got := q.Header.Get(name) != ""; got && (!c.leaks || name == "Referer") {
					t.Errorf("%s is sent to %s", name, c.to)
				}
			}
			if q.Header.Get("Range") == "" {
				t.Errorf("the range is not sent to %s", c.to)
			}
			return answerOf(200, http.Header{}, "")
		})
		client.host.Header = http.Header{"X-Team": {"MARKER"}}
		to, err := url.Parse(c.to)
		must(t, err)
		ctx := context.WithValue(background, dataURL{}, home)
		first, err := http.NewRequestWithContext(ctx, http.MethodGet, home, nil)
		must(t, err)
		hop := first.Clone(ctx)
		hop.URL, hop.Host, hop.Response = to, "", &http.Response{Request: first}
		for _, name := range []string{"Authorization", "Cookie", "Proxy-Authorization", "Referer", "Range"} {
			hop.Header.Set(name, "MARKER x")
		}
		answer, err := client.gate.RoundTrip(hop)
		must(t, err)
		must(t, answer.Body.Close())
		if asked != 1 {
			t.Errorf("%s was asked %d times", c.to, asked)
		}
	}
}
