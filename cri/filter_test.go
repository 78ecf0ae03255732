package cri

import (
	"errors"
	"slices"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/pod"
	"podlet/pod/spec"
)

func TestSelects(t *testing.T) {
	labels := map[string]string{"a": "1", "b": "", "c": "3"}
	for _, c := range []struct {
		selector map[string]string
		want     bool
	}{
		{nil, true},
		{map[string]string{"a": "1"}, true},
		{map[string]string{"a": "1", "c": "3"}, true},
		{map[string]string{"b": ""}, true},
		{map[string]string{"d": ""}, false},
		{map[string]string{"a": "1", "c": "4"}, false},
		{map[string]string{"A": "1"}, false},
	} {
		if got := selects(c.selector, labels); got != c.want {
			t.Errorf("%v: %v", c.selector, got)
		}
	}
}

// TestContainerStates: what a new podlet hasn't heard of yet is unknown; what has ended, or never began, can't have changed.
func TestContainerStates(t *testing.T) {
	for _, c := range []struct {
		state      pod.ContainerState
		recovering bool
		want       cri.ContainerState
	}{
		{pod.Created, false, cri.ContainerState_CONTAINER_CREATED},
		{pod.Starting, false, cri.ContainerState_CONTAINER_CREATED},
		{pod.Running, false, cri.ContainerState_CONTAINER_RUNNING},
		{pod.Exited, false, cri.ContainerState_CONTAINER_EXITED},
		{pod.Created, true, cri.ContainerState_CONTAINER_CREATED},
		{pod.Starting, true, cri.ContainerState_CONTAINER_UNKNOWN},
		{pod.Running, true, cri.ContainerState_CONTAINER_UNKNOWN},
		{pod.Exited, true, cri.ContainerState_CONTAINER_EXITED},
	} {
		st := &pod.ContainerStatus{ID: "c1", PodID: "p1", Spec: &spec.Container{}, State: c.state, Recovering: c.recovering}
		if got := containerState(st); got != c.want {
			t.Errorf("%s, recovering %v: %v", c.state, c.recovering, got)
		}
		if !letsContainer(&cri.ContainerFilter{Id: "c", PodSandboxId: "p", State: &cri.ContainerStateValue{State: c.want}}, st) {
			t.Errorf("%s, recovering %v: no filter finds it", c.state, c.recovering)
		}
	}
}

func TestSeconds(t *testing.T) {
	for n, want := range map[int64]time.Duration{0: 0, -1: 0, 30: 30 * time.Second, -1 << 63: 0} {
		if got := seconds(n); got != want {
			t.Errorf("%d s: %v", n, got)
		}
	}
	if got := seconds(1<<63 - 1); got < 290*365*24*time.Hour {
		t.Errorf("the longest timeout is %v", got)
	}
}

// TestPieces: a streamed list comes whole and in order, in messages that no client finds too large.
func TestPieces(t *testing.T) {
	item := func(id string, size int) *cri.PodSandbox {
		return &cri.PodSandbox{Id: id, Annotations: map[string]string{"a": string(make([]byte, size))}}
	}
	for _, c := range []struct {
		what  string
		sizes []int
		want  []int // items a message
	}{
		{"none", nil, nil},
		{"one", []int{1}, []int{1}},
		{"small ones", slices.Repeat([]int{10}, 1000), []int{1000}},
		{"large ones", []int{600 << 10, 600 << 10, 600 << 10}, []int{1, 1, 1}},
		{"one too large", []int{10, 3 << 20, 10}, []int{1, 1, 1}},
		{"too large at first", []int{3 << 20, 10, 10}, []int{1, 2}},
	} {
		var list, sent []*cri.PodSandbox
		for i, size := range c.sizes {
			list = append(list, item(string(rune('a'+i%26)), size))
		}
		var pieces []int
		err := inPieces(list, func(piece []*cri.PodSandbox) error {
			pieces = append(pieces, len(piece))
			sent = append(sent, piece...)
			return nil
		})
		if err != nil || !slices.Equal(pieces, c.want) || !slices.Equal(sent, list) {
			t.Errorf("%s: %v, %v, want %v", c.what, pieces, err, c.want)
		}
	}
	gone := errors.New("gone")
	if err := inPieces([]*cri.PodSandbox{item("a", 1)}, func([]*cri.PodSandbox) error { return gone }); err != gone {
		t.Errorf("a client that is gone: %v", err)
	}
}
