package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"podlet/internal/image"
)

// servedImages asks the podlet that serves, over its debug socket, which only root can reach. Paths go over it, not bytes, but for standard input and output:
// both are on one machine and root.
type servedImages struct {
	client *http.Client
	state  string
}

func newServedImages(state string) *servedImages {
	socket := debugSocket(state)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &servedImages{client: &http.Client{Transport: &http.Transport{DialContext: dial}}, state: state}
}

func (s *servedImages) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// importRequest is what an import is asked for with.
type importRequest struct{ Path, Name string }

// pruneRequest is what a prune is asked for with.
type pruneRequest struct{ UntaggedOnly bool }

func (s *servedImages) Import(ctx context.Context, path, name string, report func(image.LayerProgress)) ([]image.Image, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return askJob[[]image.Image](ctx, s, "/images/import", importRequest{absolute, name}, report)
}

func (s *servedImages) ImportReader(ctx context.Context, r io.Reader, name string, report func(image.LayerProgress)) ([]image.Image, error) {
	body, err := s.ask(ctx, "/images/import-stream?"+url.Values{"name": {name}}.Encode(), r)
	if err != nil {
		return nil, err
	}
	return readJob[[]image.Image](ctx, body, report)
}

func (s *servedImages) Export(ctx context.Context, r exportRequest, report func(image.LayerProgress)) (exported, error) {
	absolute, err := filepath.Abs(r.Path)
	if err != nil {
		return exported{}, err
	}
	if isLayoutDir(r.Path) {
		absolute += "/"
	}
	r.Path = absolute
	return askJob[exported](ctx, s, "/images/export", r, report)
}

func (s *servedImages) ExportTo(ctx context.Context, w io.Writer, r exportRequest) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	request, err := s.request(ctx, "/images/export-stream", bytes.NewReader(data))
	if err != nil {
		return err
	}
	answer, err := s.do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(w, answer.Body); err != nil {
		return fmt.Errorf("podlet's answer broke off: %w", err)
	}
	if problem := answer.Trailer.Get(errorTrailer); problem != "" {
		return errors.New(problem)
	}
	return nil
}

func (s *servedImages) List(ctx context.Context) ([]image.Image, error) {
	return askJob[[]image.Image](ctx, s, "/images/list", struct{}{}, nothing)
}

func (s *servedImages) Inspect(ctx context.Context, ref string) (image.Details, error) {
	return askJob[image.Details](ctx, s, "/images/inspect", ref, nothing)
}

func (s *servedImages) Remove(ctx context.Context, ref string) (image.Image, error) {
	return askJob[image.Image](ctx, s, "/images/remove", ref, nothing)
}

func (s *servedImages) Prune(ctx context.Context, untaggedOnly bool) (image.Pruned, error) {
	return askJob[image.Pruned](ctx, s, "/images/prune", pruneRequest{untaggedOnly}, nothing)
}

func (s *servedImages) Check(ctx context.Context, r checkRequest, report func(checkProgress)) (*image.CheckReport, error) {
	return askJob[*image.CheckReport](ctx, s, "/images/check", r, report)
}

func nothing(struct{}) {}

// jobEvent is one line of the answer to a job: how far it is, or its end.
type jobEvent[P, R any] struct {
	Progress *P     `json:",omitempty"`
	Result   *R     `json:",omitempty"`
	Error    string `json:",omitempty"`
}

// askJob has podlet do something and waits for its end.
func askJob[R, Q, P any](ctx context.Context, s *servedImages, path string, q Q, report func(P)) (R, error) {
	data, err := json.Marshal(q)
	if err != nil {
		return *new(R), err
	}
	body, err := s.ask(ctx, path, bytes.NewReader(data))
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
func (s *servedImages) ask(ctx context.Context, path string, body io.Reader) (io.ReadCloser, error) {
	request, err := s.request(ctx, path, body)
	if err != nil {
		return nil, err
	}
	answer, err := s.do(request)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

func (s *servedImages) request(ctx context.Context, path string, body io.Reader) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodPost, "http://podlet"+path, body)
}

func (s *servedImages) do(request *http.Request) (*http.Response, error) {
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("a podlet serves these images, and doesn't answer in its state directory %s (--state): %w", s.state, err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	return nil, errors.Join(errors.New(strings.TrimSpace(string(text))), err)
}

// errorTrailer tells why a stream of bytes isn't whole.
const errorTrailer = "Podlet-Error"

// serveImages answers servedImages.
func serveImages(mux *http.ServeMux, store *image.Store) {
	own := ownImages{store}
	serveJob(mux, "/images/list", func(ctx context.Context, _ struct{}, _ func(struct{})) ([]image.Image, error) {
		list, err := own.List(ctx)
		if list == nil {
			list = []image.Image{}
		}
		return list, err
	})
	serveJob(mux, "/images/inspect", func(ctx context.Context, ref string, _ func(struct{})) (image.Details, error) {
		return own.Inspect(ctx, ref)
	})
	serveJob(mux, "/images/remove", func(ctx context.Context, ref string, _ func(struct{})) (image.Image, error) {
		return own.Remove(ctx, ref)
	})
	serveJob(mux, "/images/prune", func(ctx context.Context, r pruneRequest, _ func(struct{})) (image.Pruned, error) {
		return own.Prune(ctx, r.UntaggedOnly)
	})
	serveJob(mux, "/images/import", func(ctx context.Context, r importRequest, report func(image.LayerProgress)) ([]image.Image, error) {
		return own.Import(ctx, r.Path, r.Name, report)
	})
	serveJob(mux, "/images/export", func(ctx context.Context, r exportRequest, report func(image.LayerProgress)) (exported, error) {
		return own.Export(ctx, r, report)
	})
	serveJob(mux, "/images/check", func(ctx context.Context, r checkRequest, report func(checkProgress)) (*image.CheckReport, error) {
		return store.Check(ctx, checkOptions(r, report))
	})
	mux.HandleFunc("POST /images/import-stream", func(w http.ResponseWriter, r *http.Request) {
		// Progress goes out while the archive still comes in.
		http.NewResponseController(w).EnableFullDuplex()
		answerJob(w, func(report func(image.LayerProgress)) ([]image.Image, error) {
			return own.ImportReader(r.Context(), r.Body, r.FormValue("name"), report)
		})
	})
	mux.HandleFunc("POST /images/export-stream", func(w http.ResponseWriter, r *http.Request) {
		var q exportRequest
		if !readJobRequest(w, r, &q) {
			return
		}
		w.Header().Set("Trailer", errorTrailer)
		if err := own.ExportTo(r.Context(), w, q); err != nil {
			w.Header().Set(errorTrailer, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	})
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
