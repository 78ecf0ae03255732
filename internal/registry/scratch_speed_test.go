package registry

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"podlet/hack/testimages/testimage"
	"podlet/internal/image"
)

func TestScratchSpeed(t *testing.T) {
	dir := os.Getenv("SPEED")
	if dir == "" {
		t.Skip()
	}
	l := newLoopback(t, false)
	mux := http.NewServeMux()
	files, _ := filepath.Glob(dir + "/l*.tgz")
	var layers []map[string]any
	var diffs []string
	byDigest := map[string]string{}
	var total int64
	for _, f := range files {
		data, _ := os.ReadFile(f)
		z, err := gzip.NewReader(bytes.NewReader(data))
		must(t, err)
		plain, err := io.ReadAll(z)
		must(t, err)
		total += int64(len(plain))
		d := testimage.Digest(data)
		byDigest[d] = f
		diffs = append(diffs, testimage.Digest(plain))
		layers = append(layers, map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": d, "size": len(data)})
	}
	config, _ := json.Marshal(map[string]any{"os": "linux", "architecture": "amd64", "rootfs": map[string]any{"type": "layers", "diff_ids": diffs}, "config": map[string]any{}})
	cd := l.put("", config)
	m, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": typeManifest, "config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": cd.Digest, "size": cd.Size}, "layers": layers})
	l.tag("app:v1", l.put(typeManifest, m))
	l.set(func(w http.ResponseWriter, r *http.Request) bool {
		for d, f := range byDigest {
			if filepath.Base(r.URL.Path) == d {
				http.ServeFile(w, r, f)
				return true
			}
		}
		return false
	})
	_ = mux
	out, _ := os.MkdirTemp("/tmp/pullspeed", "out")
	for round := range 3 {
		began := time.Now()
		for i, f := range files {
			_ = f
			sub := fmt.Sprintf("%s/%d-%d", out, round, i)
			os.MkdirAll(sub, 0o755)
			d := layers[i]["digest"].(string)
			cmd := exec.Command("sh", "-c", fmt.Sprintf("curl -s %s/v2/app/blobs/%s | tar -xz -C %s", l.URL, d, sub))
			b, err := cmd.CombinedOutput()
			if err != nil {
				t.Log(string(b))
			}
		}
		bare := time.Since(began)
		store, err := image.Open(fmt.Sprintf("%s/store%d", out, round))
		must(t, err)
		p := New(Config{Images: store, CertsDirs: []string{"/nonexistent"}})
		began = time.Now()
		_, err = p.Pull(background, l.address+"/app:v1", Credentials{})
		took := time.Since(began)
		must(t, err)
		fmt.Printf("round %d: %d MB, bare %v, pull %v, ratio %.2f\n", round, total>>20, bare, took, took.Seconds()/bare.Seconds())
		p.Close()
		store.Close()
	}
}
