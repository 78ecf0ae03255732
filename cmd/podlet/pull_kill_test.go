package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"podlet/hack/testimages/testimage"
)

var pullKills = flag.Int("pull-kills", 2, "how often TestPullKilledAnywhere kills podlet in the middle of a pull; the bar is 50")

// TestPullKilledAnywhere: podlet is killed at any moment of a pull. The next one pulls the image, and a check finds nothing wrong and nothing that nobody needs. Every other
// time a check mends the store before that, with no podlet there.
func TestPullKilledAnywhere(t *testing.T) {
	n, _ := pullNode(t)
	r := newRegistry(t, nobody)
	image := pullable(t, testimage.Gzip, "text")
	for l := range 4 {
		tree := testimage.NewTree().Dir("many", 0o755).File(fmt.Sprint("large", l), 0o644, strings.Repeat("0123456789abcdef", 1<<15))
		for f := range 150 {
			tree.File(fmt.Sprintf("many/%d-%d", l, f), 0o644, strings.Repeat("x", f*8))
		}
		layer, err := tree.Layer(testimage.Gzip)
		if err != nil {
			t.Fatal(err)
		}
		image.Layers = append(image.Layers, layer)
	}
	id, _ := r.push(t, "app:v1", image)
	ref := r.address + "/app:v1"
	pull := func() time.Duration {
		began := time.Now()
		got, err := n.pull(n.ctx(), ref, nil)
		if err != nil || got != id {
			t.Fatalf("pull: %q, %v", got, err)
		}
		return time.Since(began)
	}
	took := pull()
	n.nothingWrong(1)
	seed := rand.Uint64()
	t.Logf("an undisturbed pull took %v; seed %d", took, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	cut := 0
	for k := 0; cut < *pullKills; k++ {
		if k == 10**pullKills {
			t.Fatalf("of %d pulls only %d were cut short", k, cut)
		}
		n.removeImage(id)
		ended := make(chan error, 1)
		go func() {
			_, err := n.pull(n.ctx(), ref, nil)
			ended <- err
		}()
		moment := time.Duration(random.Int64N(int64(took)))
		<-time.After(moment)
		n.kill()
		if err := <-ended; err != nil {
			cut++
		}
		if k%2 == 1 {
			n.imageOK("check", "--repair", "--deep")
			if out := n.imageOK("check", "--deep"); !contains(out, "nothing wrong") || contains(out, "orphan") {
				t.Errorf("killed after %v, mended:\n%s", moment, out)
			}
		}
		n.start()
		took = min(took, pull())
		n.nothingWrong(1)
		n.onlyLayers(len(image.Layers))
		if t.Failed() {
			t.Fatalf("kill %d, after %v", k, moment)
		}
	}
	t.Logf("%d pulls were cut short", cut)
	n.runs(ref, "text")
}
