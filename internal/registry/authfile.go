package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/distribution/reference"

	"podlet/internal/image"
)

// authFile is what "docker login" and "podman login" write (config.json, auth.json).
type authFile struct {
	Auths map[string]struct {
		Username      string `json:"username"`
		Password      string `json:"password"`
		Auth          string `json:"auth"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	} `json:"auths"`
	CredsStore  string            `json:"credsStore"`
	CredHelpers map[string]string `json:"credHelpers"`
}

// ReadAuthFile gives the credentials that file has for the image that ref names, and the entry they are from: the one of the longest path that leads to the
// repository ("quay.io/team" before "quay.io"). They are for the registry alone, not for its mirrors. Without an entry both are empty. Errors, which hold
// nothing of the file, are ErrConfig for a file that can't be used, also one that keeps them in a helper program, and image.ErrInvalid for ref.
func ReadAuthFile(file, ref string) (c Credentials, entry string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return Credentials{}, "", fail(ErrConfig, "credentials: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxHostsBytes+1))
	if err != nil {
		return Credentials{}, "", fail(ErrConfig, "credentials: %w", err)
	}
	if len(data) > maxHostsBytes {
		return Credentials{}, "", fail(ErrConfig, "credentials: %s is larger than %d bytes", file, maxHostsBytes)
	}
	c, entry, err = parseAuthFile(data, ref)
	if err != nil {
		return Credentials{}, "", fail(ErrConfig, "credentials: %s: %w", file, err)
	}
	return c, entry, nil
}

func parseAuthFile(data []byte, ref string) (c Credentials, entry string, err error) {
	name, err := image.NormalizeName(ref)
	if err != nil {
		return Credentials{}, "", err
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return Credentials{}, "", fmt.Errorf("%w: %v", image.ErrInvalid, err)
	}
	var f authFile
	if err := json.Unmarshal(data, &f); err != nil {
		// The library's own words quote what they stumbled over.
		return Credentials{}, "", errors.New("not as docker login writes it: want {\"auths\": {\"HOST\": {\"auth\": …}}}")
	}
	server, longest := serverName(reference.Domain(named)), -1
	for key, a := range f.Auths {
		host, path := splitEntry(key)
		if host != server || !leadsTo(path, reference.Path(named)) || len(path) < longest || len(path) == longest && key > entry {
			continue
		}
		longest, entry = len(path), key
		c = Credentials{
			Username: a.Username, Password: a.Password, Auth: a.Auth, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken,
		}
	}
	if c != (Credentials{}) {
		c.ServerAddress = reference.Domain(named)
		return c, entry, nil
	}
	helper := f.CredsStore
	for key, h := range f.CredHelpers {
		if host, _ := splitEntry(key); host == server {
			helper = h
		}
	}
	if helper != "" {
		return Credentials{}, "", fmt.Errorf("it leaves those of %s to the program docker-credential-%s: podlet runs none, give them in another way", server, helper)
	}
	return Credentials{}, "", nil
}

// splitEntry takes an entry's name apart: "https://index.docker.io/v1/" is docker.io's, "quay.io/team" is for a part of quay.io.
func splitEntry(key string) (host, path string) {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	_, path, _ = strings.Cut(key, "/")
	path = strings.Trim(path, "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	return serverName(key), path
}

// leadsTo: path is the repository or a directory above it.
func leadsTo(path, repository string) bool {
	return path == "" || path == repository || strings.HasPrefix(repository, path+"/")
}
