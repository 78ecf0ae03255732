package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	descriptorType  = "application/vnd.oci.descriptor.v1+json"
	verifierTimeout = 10 * time.Second
	maxVerifierText = 4 << 10 // of what one writes
)

// verifierFiles lists the programs of a directory that judge images, in the order of their names. What is there and can't be run is an error: a verifier that
// is passed over would be a hole.
func verifierFiles(dir string) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fail(ErrSignature, "verifiers: %w", err)
	}
	var files []string
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		fi, err := os.Stat(file)
		if err != nil {
			return nil, fail(ErrSignature, "verifiers: %w", err)
		}
		if !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
			return nil, fail(ErrSignature, "verifiers: %s is no program that can be run", file)
		}
		files = append(files, file)
	}
	return files, nil
}

// verify has every verifier judge the document that the name leads to, before anything else of the image is asked for. All must accept it. They are called as
// containerd calls its image verifiers (docs/image-verification.md there): "-name NAME -digest DIGEST -stdin-media-type TYPE" with the document's descriptor
// on standard input; the exit status decides, and what they write to standard output is the reason. Their environment is podlet's.
func (r *remote) verify(ctx context.Context, data []byte, mediaType string) error {
	files, err := verifierFiles(r.verifiers)
	if err != nil || len(files) == 0 {
		return err
	}
	sum := sha256.Sum256(data)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	input, err := json.Marshal(struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}{mediaType, digest, len(data)})
	if err != nil {
		return err
	}
	for _, file := range files {
		began := time.Now()
		reason, err := r.judge(ctx, file, digest, input)
		if err != nil {
			return err
		}
		r.log.Info("image accepted", "verifier", file, "digest", digest, "took", time.Since(began), "reason", reason)
	}
	return nil
}

// judge runs one verifier to its end, and ends what it started if it takes too long.
func (r *remote) judge(ctx context.Context, file, digest string, input []byte) (reason string, err error) {
	limited, cancel := context.WithTimeout(ctx, r.verifierTimeout)
	defer cancel()
	var stdout, stderr headWriter
	cmd := exec.CommandContext(limited, file, "-name", r.name, "-digest", digest, "-stdin-media-type", descriptorType)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = "/", bytes.NewReader(input), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if text := stderr.String(); text != "" {
		r.log.Debug("verifier", "file", file, "stderr", r.secrets.clean(text))
	}
	reason = r.secrets.cleanShort(strings.TrimSpace(stdout.String()))
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case limited.Err() != nil:
		return "", fail(ErrSignature, "verifier %s came to no end within %v", file, r.verifierTimeout)
	case errors.As(err, &exit) && reason == "":
		return "", fail(ErrSignature, "verifier %s refuses the image: %v", file, exit)
	case errors.As(err, &exit):
		return "", fail(ErrSignature, "verifier %s refuses the image: %s", file, reason)
	case err != nil:
		return "", fail(ErrSignature, "verifier %s: %w", file, err)
	}
	return reason, nil
}

// headWriter keeps the beginning of what is written.
type headWriter struct{ bytes.Buffer }

func (h *headWriter) Write(p []byte) (int, error) {
	if room := maxVerifierText - h.Len(); room > 0 {
		h.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
