package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"

	"podlet/internal/image"
)

// images is the image store, as podlet's commands use it: opened by themselves, or by the podlet that serves and has it locked.
type images interface {
	Import(ctx context.Context, path, name string) ([]image.Image, error)
	List(ctx context.Context) ([]image.Image, error)
	Close() error
}

// openImages opens the store below o.Root, or speaks to the podlet that has it.
func openImages(o *options) (images, error) {
	store, err := image.Open(filepath.Join(o.Root, "images"))
	if errors.Is(err, image.ErrLocked) {
		return newServedImages(o.State), nil
	}
	if err != nil {
		return nil, err
	}
	return ownImages{store}, nil
}

type ownImages struct{ *image.Store }

func (s ownImages) Import(ctx context.Context, path, name string) ([]image.Image, error) {
	return s.Store.Import(ctx, path, image.ImportOptions{Name: name})
}

func (s ownImages) List(context.Context) ([]image.Image, error) { return s.Store.List(), nil }

// servedImages asks the podlet that serves, over its debug socket, which only root can reach. Paths go over it, not bytes: both are on one
// machine and root.
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

func (s *servedImages) Import(ctx context.Context, path, name string) ([]image.Image, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return s.ask(ctx, http.MethodPost, "/images?"+url.Values{"path": {absolute}, "name": {name}}.Encode())
}

func (s *servedImages) List(ctx context.Context) ([]image.Image, error) {
	return s.ask(ctx, http.MethodGet, "/images")
}

func (s *servedImages) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

func (s *servedImages) ask(ctx context.Context, method, path string) ([]image.Image, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://podlet"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("a podlet serves these images, and doesn't answer in its state directory %s (--state): %w", s.state, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
		return nil, errors.New(string(text))
	}
	var list []image.Image
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("podlet's answer: %w", err)
	}
	return list, nil
}

// serveImages answers servedImages.
func serveImages(mux *http.ServeMux, store *image.Store) {
	mux.HandleFunc("GET /images", func(w http.ResponseWriter, r *http.Request) { answerImages(w, store.List(), nil) })
	mux.HandleFunc("POST /images", func(w http.ResponseWriter, r *http.Request) {
		list, err := store.Import(r.Context(), r.FormValue("path"), image.ImportOptions{Name: r.FormValue("name")})
		answerImages(w, list, err)
	})
}

func answerImages(w http.ResponseWriter, list []image.Image, err error) {
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, err.Error())
		return
	}
	json.NewEncoder(w).Encode(list)
}
