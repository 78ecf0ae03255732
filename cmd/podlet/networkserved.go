package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"

	"podlet/internal/network/bridge"
	"podlet/pod"
)

// networkPods asks the podlet that serves, over its debug socket, or reads the leases of one that doesn't.
func networkPods(ctx context.Context, o *options) ([]networkPod, error) {
	client := debugClient(o.State)
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://podlet/network", nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if nobodyServes(err) {
		return leasedPods(o)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the podlet that serves in the state directory %s (--state): %w", o.State, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
		return nil, fmt.Errorf("podlet answers %s: %s", answer.Status, text)
	}
	var list []networkPod
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("podlet's answer: %w", err)
	}
	return list, nil
}

func leasedPods(o *options) ([]networkPod, error) {
	if _, err := os.Stat(o.State); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no podlet has its state in %s (--state): there is no such directory", o.State)
	}
	leases, err := bridge.Leases(o.bridgeDir())
	if err != nil {
		return nil, err
	}
	list := make([]networkPod, 0, len(leases))
	for _, l := range leases {
		p := networkPod{Pod: l.Pod, IPs: l.IPs, HostPorts: []networkPort{}, ToPod: l.Limits.ToPod, FromPod: l.Limits.FromPod}
		for _, m := range l.Ports {
			p.HostPorts = append(p.HostPorts, networkPort{m.Protocol.String(), addressOrNone(m.HostIP), m.HostPort, m.PodPort})
		}
		list = append(list, p)
	}
	return list, nil
}

// addressOrNone is "" for the zero Addr.
func addressOrNone(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// serveNetwork answers networkPods.
func serveNetwork(mux *http.ServeMux, pods *pod.Runtime) {
	mux.HandleFunc("GET /network", func(w http.ResponseWriter, r *http.Request) {
		list := []networkPod{}
		for _, s := range pods.Pods(r.Context()) {
			if s.Network != nil {
				list = append(list, networkPodOf(s))
			}
		}
		json.NewEncoder(w).Encode(list)
	})
}

func networkPodOf(s *pod.PodStatus) networkPod {
	// It was checked when the pod came.
	limits, _ := s.Spec.Bandwidth()
	p := networkPod{
		Pod: s.ID, Namespace: s.Spec.Namespace, Name: s.Spec.Name, IPs: notNil(s.Network.IPs), HostPorts: []networkPort{}, ToPod: limits.Ingress, FromPod: limits.Egress,
	}
	for _, m := range s.Spec.Ports {
		p.HostPorts = append(p.HostPorts, networkPort{m.Protocol, addressOrNone(m.HostIP), m.HostPort, m.PodPort})
	}
	return p
}
