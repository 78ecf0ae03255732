// Package cri serves the Kubernetes Container Runtime Interface v1 (k8s.io/cri-api, api.proto) over gRPC, a file a verb.
//
// It decides what a request means and nothing else: it checks every field at this border, turns requests into package spec's
// values, calls package pod or image, and turns the answers and errors into the CRI's. A field that podlet doesn't serve is an
// error, never ignored, unless api.proto says that it is a hint; a verb that it doesn't serve answers Unimplemented.
//
// Every call runs under a recover: a panic is that call's Internal error, never the daemon's end.
package cri
