package main

import (
	"slices"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestStatsFilters: conditions are ANDed, and an id may be cut short.
func TestStatsFilters(t *testing.T) {
	n := commonNode(t)
	labelled := func(k, v string) func(*cri.PodSandboxConfig) {
		return func(c *cri.PodSandboxConfig) { c.Labels = map[string]string{k: v, "both": "yes"} }
	}
	one, two := n.newPod(labelled("is", "one")), n.newPod(labelled("is", "two"))
	config := container("app", "sleep", "1000")
	config.Labels = map[string]string{"app": "a"}
	a := one.start(config)
	b := two.start(container("app", "sleep", "1000"))
	both := []string{a, b}
	slices.Sort(both)
	for _, c := range []struct {
		f    *cri.ContainerStatsFilter
		want []string
	}{
		{nil, both},
		{&cri.ContainerStatsFilter{}, both},
		{&cri.ContainerStatsFilter{Id: a}, []string{a}},
		{&cri.ContainerStatsFilter{Id: b[:13]}, []string{b}},
		{&cri.ContainerStatsFilter{PodSandboxId: two.id}, []string{b}},
		{&cri.ContainerStatsFilter{Id: a, PodSandboxId: two.id}, nil},
		{&cri.ContainerStatsFilter{LabelSelector: map[string]string{"app": "a"}}, []string{a}},
		{&cri.ContainerStatsFilter{LabelSelector: map[string]string{"app": "b"}}, nil},
		{&cri.ContainerStatsFilter{Id: "none"}, nil},
	} {
		if got := n.listedStats(c.f); !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, want %q", c.f, got, c.want)
		}
	}
	pods := []string{one.id, two.id}
	slices.Sort(pods)
	for _, c := range []struct {
		f    *cri.PodSandboxStatsFilter
		want []string
	}{
		{nil, pods},
		{&cri.PodSandboxStatsFilter{Id: one.id[:13]}, []string{one.id}},
		{&cri.PodSandboxStatsFilter{LabelSelector: map[string]string{"both": "yes"}}, pods},
		{&cri.PodSandboxStatsFilter{LabelSelector: map[string]string{"both": "yes", "is": "two"}}, []string{two.id}},
		{&cri.PodSandboxStatsFilter{Id: one.id, LabelSelector: map[string]string{"is": "two"}}, nil},
	} {
		if got := n.listedPodStats(c.f); !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, want %q", c.f, got, c.want)
		}
	}
}
