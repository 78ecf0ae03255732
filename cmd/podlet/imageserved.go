package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"podlet/internal/image"
)

// servedImages asks the podlet that serves, over its debug socket, which only root can reach. Paths go over it, not bytes, but for standard input and output:
// both are on one machine and root.
type servedImages struct{ *jobClient }

// importRequest is what an import is asked for with.
type importRequest struct{ Path, Name string }

// pruneRequest is what a prune is asked for with.
type pruneRequest struct{ UntaggedOnly bool }

func (s servedImages) Import(ctx context.Context, path, name string, report func(image.LayerProgress)) ([]image.Image, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return askJob[[]image.Image](ctx, s.jobClient, "/images/import", importRequest{absolute, name}, report)
}

func (s servedImages) ImportReader(ctx context.Context, r io.Reader, name string, report func(image.LayerProgress)) ([]image.Image, error) {
	body, err := s.ask(ctx, "/images/import-stream?"+url.Values{"name": {name}}.Encode(), r)
	if err != nil {
		return nil, err
	}
	return readJob[[]image.Image](ctx, body, report)
}

func (s servedImages) Export(ctx context.Context, r exportRequest, report func(image.LayerProgress)) (exported, error) {
	absolute, err := filepath.Abs(r.Path)
	if err != nil {
		return exported{}, err
	}
	if isLayoutDir(r.Path) {
		absolute += "/"
	}
	r.Path = absolute
	return askJob[exported](ctx, s.jobClient, "/images/export", r, report)
}

func (s servedImages) ExportTo(ctx context.Context, w io.Writer, r exportRequest) error {
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

func (s servedImages) List(ctx context.Context) ([]image.Image, error) {
	return askJob[[]image.Image](ctx, s.jobClient, "/images/list", struct{}{}, nothing)
}

func (s servedImages) Inspect(ctx context.Context, ref string) (image.Details, error) {
	return askJob[image.Details](ctx, s.jobClient, "/images/inspect", ref, nothing)
}

func (s servedImages) Remove(ctx context.Context, ref string) (image.Image, error) {
	return askJob[image.Image](ctx, s.jobClient, "/images/remove", ref, nothing)
}

func (s servedImages) Prune(ctx context.Context, untaggedOnly bool) (image.Pruned, error) {
	return askJob[image.Pruned](ctx, s.jobClient, "/images/prune", pruneRequest{untaggedOnly}, nothing)
}

func (s servedImages) Check(ctx context.Context, r checkRequest, report func(checkProgress)) (*image.CheckReport, error) {
	return askJob[*image.CheckReport](ctx, s.jobClient, "/images/check", r, report)
}

// errorTrailer tells why a stream of bytes isn't whole.
const errorTrailer = "Podlet-Error"

// serveImages answers servedImages.
func serveImages(mux *http.ServeMux, store *image.Store) {
	own := ownImages{store}
	serveJob(mux, "/images/list", func(ctx context.Context, _ struct{}, _ func(struct{})) ([]image.Image, error) {
		list, err := own.List(ctx)
		return notNil(list), err
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
