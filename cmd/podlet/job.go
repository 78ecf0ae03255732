package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// jobClient has the podlet that serves do jobs with its images. A job is a POST to the debug socket: the body says what is asked for, the answer is a jobEvent a
// line.
type jobClient struct {
	client *http.Client
	state  string
}

func newJobClient(state string) *jobClient { return &jobClient{debugClient(state), state} }

func (c *jobClient) Close() error {
	c.client.CloseIdleConnections()
	return nil
}

// jobEvent is one line of the answer to a job: how far it is, or its end.
type jobEvent[P, R any] struct {
	Progress *P     `json:",omitempty"`
	Result   *R     `json:",omitempty"`
	Error    string `json:",omitempty"`
}

// nothing reports a job that doesn't say how far it is.
func nothing(struct{}) {}

// askJob has podlet do something and waits for its end.
func askJob[R, Q, P any](ctx context.Context, c *jobClient, path string, q Q, report func(P)) (R, error) {
	data, err := json.Marshal(q)
	if err != nil {
		return *new(R), err
	}
	body, err := c.ask(ctx, path, bytes.NewReader(data))
	if err != nil {
		return *new(R), err
	}
	return readJob[R](ctx, body, report)
}

func readJob[R, P any](ctx context.Context, body io.ReadCloser, report func(P)) (result R, err error) {
	defer body.Close()
	lines := json.NewDecoder(body)
	for {
		var e jobEvent[P, R]
		if err := lines.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return result, context.Cause(ctx)
			}
			return result, fmt.Errorf("podlet's answer broke off: %w", err)
		}
		switch {
		case e.Error != "":
			return result, errors.New(e.Error)
		case e.Result != nil:
			return *e.Result, nil
		case e.Progress != nil:
			report(*e.Progress)
		}
	}
}

// ask gives the answer's body.
func (c *jobClient) ask(ctx context.Context, path string, body io.Reader) (io.ReadCloser, error) {
	request, err := c.request(ctx, path, body)
	if err != nil {
		return nil, err
	}
	answer, err := c.do(request)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

func (c *jobClient) request(ctx context.Context, path string, body io.Reader) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodPost, "http://podlet"+path, body)
}

func (c *jobClient) do(request *http.Request) (*http.Response, error) {
	answer, err := c.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("a podlet serves these images, and doesn't answer in its state directory %s (--state): %w", c.state, err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	return nil, errors.Join(errors.New(strings.TrimSpace(string(text))), err)
}

// serveJob serves a job at a path.
func serveJob[Q, P, R any](mux *http.ServeMux, path string, do func(ctx context.Context, q Q, report func(P)) (R, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if readJobRequest(w, r, &q) {
			answerJob(w, func(report func(P)) (R, error) { return do(r.Context(), q, report) })
		}
	})
}

func readJobRequest(w http.ResponseWriter, r *http.Request, q any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(q); err != nil {
		http.Error(w, "podlet can't read the request; is the command of another version than the podlet that serves?", http.StatusBadRequest)
		return false
	}
	return true
}

// answerJob does the job and tells of it, a line of JSON each. A client that is gone ends the request's context.
func answerJob[P, R any](w http.ResponseWriter, do func(report func(P)) (R, error)) {
	var mu sync.Mutex
	lines, flush := json.NewEncoder(w), http.NewResponseController(w)
	tell := func(e jobEvent[P, R]) {
		mu.Lock()
		defer mu.Unlock()
		_ = lines.Encode(e)
		_ = flush.Flush()
	}
	result, err := do(func(p P) { tell(jobEvent[P, R]{Progress: &p}) })
	if err != nil {
		tell(jobEvent[P, R]{Error: err.Error()})
		return
	}
	tell(jobEvent[P, R]{Result: &result})
}
