package main

import (
	"encoding/json"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"podlet/hack/testimages/testimage"
)

// TestImageVolumeArtifact: an OCI artifact, which is no image, is pulled and is a volume of its blobs; in a pod with a user namespace too.
func TestImageVolumeArtifact(t *testing.T) {
	n := commonNode(t)
	r := newRegistry(t, nobody)
	put := func(mediaType, content, title string) testimage.Descriptor {
		d := testimage.Descriptor{MediaType: mediaType, Digest: testimage.Digest([]byte(content)), Size: int64(len(content))}
		if title != "" {
			d.Annotations = map[string]string{"org.opencontainers.image.title": title}
		}
		r.blobs[d.Digest] = []byte(content)
		return d
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "artifactType": "application/vnd.example.model",
		"config": put("application/vnd.oci.empty.v1+json", "{}", ""),
		"layers": []testimage.Descriptor{put("application/vnd.example.weights", "weights\n", "model/weights.bin"), put("text/plain", "read me\n", "README")},
	})
	if err != nil {
		t.Fatal(err)
	}
	digest := testimage.Digest(manifest)
	r.blobs[digest], r.manifests["model:1"], r.manifests[digest] = manifest, digest, digest
	name := r.address + "/model:1"
	pulled, err := n.images.PullImage(n.ctx(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: name}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.images.RemoveImage(n.ctx(), &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: pulled.ImageRef}})
	status, err := n.images.ImageStatus(n.ctx(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
	if err != nil || status.Image == nil || strings.Join(status.Image.RepoDigests, " ") != r.address+"/model@"+digest {
		t.Fatalf("%v, %v", status, err)
	}
	for _, p := range []*testPod{n.newPod(), n.newPod(sharing(userNS))} {
		config := n.like(p.config, container("app", "sh", "-c", "cat /v/model/weights.bin /v/README; stat -c %u:%g:%a /v/README; touch /v/new 2>/dev/null || echo refused"))
		mounting(imageMount(name, ""))(config)
		if out := p.output(config); out != "weights\nread me\n0:0:644\nrefused\n" {
			t.Errorf("%q", out)
		}
	}
}
