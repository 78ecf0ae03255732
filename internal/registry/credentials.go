package registry

import (
	"encoding/base64"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"podlet/internal/image"
)

// Credentials are what CRI's AuthConfig may hold; each field may be "". Where several are given, the registry token wins, then the identity token, then
// user and password, then Auth.
type Credentials struct {
	Username, Password string
	// Auth is base64 of "user:password", as in Docker's config.json.
	Auth string
	// IdentityToken is a refresh token, given to the token server.
	IdentityToken string
	// RegistryToken is sent to the registry as it is.
	RegistryToken string
	// ServerAddress, if given, is the one host they are for: "host[:port]" or a URL. If not, they are for all hosts of the pull: the registry and the mirrors
	// that the node's hosts.toml names for it.
	ServerAddress string
}

// OnlyFor makes them for the registry of the image that ref names, so that none of its mirrors sees them.
func (c Credentials) OnlyFor(ref string) (Credentials, error) {
	name, err := image.NormalizeName(ref)
	if err != nil {
		return Credentials{}, err
	}
	c.ServerAddress, _, _ = strings.Cut(name, "/")
	return c, nil
}

// forHost gives what the host at address (host[:port]) may see.
func (c Credentials) forHost(address string) (auth.Credential, error) {
	if c.ServerAddress != "" && serverName(c.ServerAddress) != serverName(address) {
		return auth.EmptyCredential, nil
	}
	switch {
	case c.RegistryToken != "":
		return auth.Credential{AccessToken: c.RegistryToken}, nil
	case c.IdentityToken != "":
		return auth.Credential{RefreshToken: c.IdentityToken}, nil
	case c.Username != "" || c.Password != "":
		return auth.Credential{Username: c.Username, Password: c.Password}, nil
	case c.Auth != "":
		user, password, err := decodeAuth(c.Auth)
		return auth.Credential{Username: user, Password: password}, err
	}
	return auth.EmptyCredential, nil
}

// decodeAuth is base64 of "user:password". Errors don't hold it.
func decodeAuth(text string) (user, password string, err error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		data, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil {
		return "", "", fail(ErrUnauthenticated, "credentials: auth is not base64")
	}
	user, password, ok := strings.Cut(string(data), ":")
	if !ok {
		return "", "", fail(ErrUnauthenticated, "credentials: auth holds no user:password")
	}
	// Some writers of config.json end it with NULs.
	return user, strings.TrimRight(password, "\x00"), nil
}

// secrets gives all texts in it that must not be shown.
func (c Credentials) secrets() []string {
	list := []string{c.Password, c.Auth, c.IdentityToken, c.RegistryToken}
	user, password := c.Username, c.Password
	if u, p, err := decodeAuth(c.Auth); c.Auth != "" && err == nil {
		user, password = u, p
		list = append(list, p)
	}
	list = append(list, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	for _, s := range list {
		if e := url.QueryEscape(s); e != s {
			list = append(list, e)
		}
	}
	return list
}

// serverName brings the forms of a server's address to one: "https://index.docker.io/v1/" and "docker.io" are the same server, and so are "host" and "host:443".
func serverName(address string) string {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	}
	address, _, _ = strings.Cut(address, "/")
	address = strings.ToLower(strings.TrimSuffix(address, ":443"))
	switch address {
	case "index.docker.io", "registry-1.docker.io":
		return dockerHub
	}
	return address
}
