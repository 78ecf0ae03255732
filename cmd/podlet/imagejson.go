package main

import (
	"time"

	"podlet/internal/image"
)

// What -o json prints is a format of its own, which scripts rely on whatever becomes of the store's types. A list that has nothing is [] and not null: a
// script can walk it.

type imageJSON struct {
	ID       image.Digest `json:"id"`
	Tags     []string     `json:"tags"`
	Digests  []string     `json:"digests"`
	Size     int64        `json:"size"`
	Config   configJSON   `json:"config"`
	Imported time.Time    `json:"imported"`
	Pinned   bool         `json:"pinned"`
	InUse    bool         `json:"inUse"`
}

type configJSON struct {
	Entrypoint   []string          `json:"entrypoint"`
	Cmd          []string          `json:"cmd"`
	Env          []string          `json:"env"`
	WorkingDir   string            `json:"workingDir"`
	User         string            `json:"user"`
	StopSignal   string            `json:"stopSignal"`
	Volumes      []string          `json:"volumes"`
	ExposedPorts []string          `json:"exposedPorts"`
	Labels       map[string]string `json:"labels"`
	OS           string            `json:"os"`
	Architecture string            `json:"architecture"`
	Variant      string            `json:"variant"`
	Created      time.Time         `json:"created"`
}

func jsonOf(i image.Image) imageJSON {
	c := i.Config
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	return imageJSON{
		ID: i.ID, Tags: notNil(i.Tags), Digests: notNil(i.Digests), Size: i.Size, Imported: i.Imported, Pinned: i.Pinned, InUse: i.InUse,
		Config: configJSON{
			Entrypoint: notNil(c.Entrypoint), Cmd: notNil(c.Cmd), Env: notNil(c.Env), WorkingDir: c.WorkingDir, User: c.User, StopSignal: c.StopSignal,
			Volumes: notNil(c.Volumes), ExposedPorts: notNil(c.ExposedPorts), Labels: c.Labels,
			OS: c.OS, Architecture: c.Architecture, Variant: c.Variant, Created: c.Created,
		},
	}
}

func imagesJSON(list []image.Image) any { return each(list, jsonOf) }

type detailsJSON struct {
	imageJSON
	Layers []layerJSON `json:"layers"`
}

// layerJSON is image.LayerDetails.
type layerJSON struct {
	DiffID        image.Digest `json:"diffID"`
	Bytes         int64        `json:"bytes"`
	Inodes        int64        `json:"inodes"`
	Unpacked      time.Time    `json:"unpacked"`
	Durable       bool         `json:"durable"`
	NotExportable string       `json:"notExportable,omitempty"`
}

func inspectJSON(all []image.Details) any {
	return each(all, func(d image.Details) detailsJSON {
		return detailsJSON{jsonOf(d.Image), each(d.Layers, func(l image.LayerDetails) layerJSON { return layerJSON(l) })}
	})
}

func pruneJSON(p image.Pruned) any {
	return struct {
		Images []imageJSON `json:"images"`
		Bytes  int64       `json:"bytes"`
	}{each(p.Images, jsonOf), p.Bytes}
}

type findingJSON struct {
	Kind    image.FindingKind `json:"kind"`
	What    string            `json:"what"`
	Problem string            `json:"problem"`
	Images  []string          `json:"images"`
	Mended  bool              `json:"mended"`
	Kept    string            `json:"kept,omitempty"`
}

func checkJSON(r *image.CheckReport) any {
	return struct {
		Images   int           `json:"images"`
		Layers   int           `json:"layers"`
		Files    int64         `json:"files"`
		Findings []findingJSON `json:"findings"`
	}{r.Images, r.Layers, r.Files, each(r.Findings, func(f image.Finding) findingJSON {
		return findingJSON{f.Kind, f.What, f.Problem, notNil(f.Images), f.Mended, f.Kept}
	})}
}

func exportJSON(e exported) any {
	return struct {
		Path  string `json:"path"`
		Bytes int64  `json:"bytes"`
	}(e)
}

// each is never nil.
func each[T, J any](list []T, of func(T) J) []J {
	all := make([]J, 0, len(list))
	for _, v := range list {
		all = append(all, of(v))
	}
	return all
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
