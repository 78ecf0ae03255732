package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/node"
)

// rowPullShared is the row of two pulls at once, of images that have all layers but one in common; its base is the pull of one of them alone.
const rowPullShared = "pull-shared"

// sharedRow has one pull and two pulls at once take turns, each on an empty store. See pullRows for what stays and what is synced.
func sharedRow(ctx context.Context, o options) (_ []row, err error) {
	img, err := manyLayers()
	if err != nil {
		return nil, err
	}
	registry, err := serveImage(img)
	if err != nil {
		return nil, err
	}
	defer registry.Close()
	nodes := &pullNodes{options: o}
	defer func() { err = errors.Join(err, nodes.Close()) }()
	var one, two []time.Duration
	for range min(o.n, pullRounds) {
		for _, side := range []struct {
			times *[]time.Duration
			tags  []string
		}{{&one, []string{"v1"}}, {&two, []string{"v1", "v2"}}} {
			n, err := nodes.start(ctx)
			if err != nil {
				return nil, err
			}
			unix.Sync()
			took, err := pullAtOnce(ctx, n, registry, side.tags)
			if err != nil {
				return nil, err
			}
			*side.times = append(*side.times, took)
			if err := n.Stop(); err != nil {
				return nil, err
			}
		}
	}
	return []row{againstRow(rowPullShared, two, "pull of one of the two", one)}, nil
}

// pullAtOnce pulls the tags side by side and returns when the last is there.
func pullAtOnce(ctx context.Context, n *node.Node, registry *pullRegistry, tags []string) (time.Duration, error) {
	began := time.Now()
	results := make(chan error, len(tags))
	for _, tag := range tags {
		go func() {
			_, err := n.Images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: registry.name(tag)}})
			results <- err
		}()
	}
	var failed error
	for range tags {
		failed = errors.Join(failed, <-results)
	}
	return time.Since(began), failed
}
