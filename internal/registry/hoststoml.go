package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"golang.org/x/sys/unix"
)

const maxHostsBytes = 1 << 20

// hostsFile is hosts.toml as containerd defines it (docs/hosts.md there). The keys at its top are those of the server.
type hostsFile struct {
	Server string               `toml:"server"`
	Hosts  map[string]hostTable `toml:"host"`
	hostTable
}

// hostTable is one host's. ca is a path or several; client is a path, several, or pairs of certificate and key; a header's value is a text or several.
type hostTable struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
	Proxy        string         `toml:"proxy"`
}

// readHosts reads one hosts.toml: its hosts in the file's order, then the server. Keys that containerd doesn't know it ignores; so does podlet, with a warning.
// Without a file it is errNoHostsFile; every other error is ErrConfig and names the file and, where one is to blame, the line.
func readHosts(file, registry string) (hosts []*Host, warnings []string, err error) {
	data, err := readBounded(file, maxHostsBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, errNoHostsFile
	}
	if err != nil {
		return nil, nil, fail(ErrConfig, "%w", err)
	}
	return parseHosts(data, file, registry)
}

// parseHosts is readHosts of the file's content.
func parseHosts(data []byte, file, registry string) (hosts []*Host, warnings []string, err error) {
	var f hostsFile
	strict := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	err = strict.Decode(&f)
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		for _, e := range unknown.Errors {
			line, _ := e.Position()
			warnings = append(warnings, fmt.Sprintf("%s:%d: key %q is not known and ignored", file, line, strings.Join(e.Key(), ".")))
		}
		f = hostsFile{}
		err = toml.Unmarshal(data, &f)
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, _ := wrong.Position()
		// The library speaks of Go's types, which the file's writer never saw.
		what, _, _ := strings.Cut(strings.TrimPrefix(wrong.Error(), "toml: "), " into struct field ")
		if key := strings.Join(wrong.Key(), "."); key != "" {
			what = fmt.Sprintf("key %q: %s", key, what)
		}
		return nil, nil, fail(ErrConfig, "%s:%d: %s", file, line, what)
	}
	if err != nil {
		return nil, nil, fail(ErrConfig, "%s: %w", file, err)
	}
	lines, err := hostLines(data)
	if err != nil {
		return nil, nil, fail(ErrConfig, "%s: %w", file, err)
	}
	for _, name := range inFileOrder(f.Hosts, lines) {
		h, err := f.Hosts[name].host(name, registry, filepath.Dir(file))
		where := fmt.Sprintf("%s:%d", file, lines[name])
		if err != nil {
			return nil, nil, fail(ErrConfig, "%s: host %q: %w", where, name, err)
		}
		h.Why = where
		hosts = append(hosts, h)
	}
	server, err := f.server(registry, filepath.Dir(file))
	if err != nil {
		return nil, nil, fail(ErrConfig, "%s:%d: server: %w", file, max(lines[""], 1), err)
	}
	server.Why = file
	if line := lines[""]; line > 0 {
		server.Why = fmt.Sprintf("%s:%d", file, line)
	}
	return append(hosts, server), warnings, nil
}

var errNoHostsFile = errors.New("no hosts.toml")

// readBounded reads a regular file of at most so many bytes.
func readBounded(file string, most int64) ([]byte, error) {
	// Without waiting: it could be a fifo.
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", file, most)
	}
	return data, err
}

// hostLines gives the line where each host's first key or table stands, and under "" that of server. A decoded map has forgotten them, and with them the order.
func hostLines(data []byte) (map[string]int, error) {
	lines := map[string]int{}
	var p unstable.Parser
	p.Reset(data)
	inTop := true
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.Table && e.Kind != unstable.ArrayTable && (e.Kind != unstable.KeyValue || !inTop) {
			continue
		}
		inTop = inTop && e.Kind == unstable.KeyValue
		var key []string
		line := 0
		for it := e.Key(); it.Next(); {
			if line == 0 {
				line = p.Shape(p.Range(it.Node().Data)).Start.Line
			}
			key = append(key, string(it.Node().Data))
		}
		switch {
		case len(key) >= 2 && key[0] == "host" && lines[key[1]] == 0:
			lines[key[1]] = line
		case len(key) == 1 && key[0] == "server":
			lines[""] = line
		}
	}
	return lines, p.Error()
}

// inFileOrder orders the hosts by their lines. Those of an inline table share none: they come by name.
func inFileOrder(hosts map[string]hostTable, lines map[string]int) []string {
	var names []string
	for name := range hosts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if lines[a] != lines[b] {
			return lines[a] - lines[b]
		}
		return strings.Compare(a, b)
	})
	return names
}

func (f *hostsFile) server(registry, dir string) (*Host, error) {
	name := f.Server
	if name == "" {
		name = defaultURL(registry).String()
	}
	return f.host(name, registry, dir)
}

// host makes a Host of a table. Relative paths of files are below dir.
func (t hostTable) host(name, registry, dir string) (*Host, error) {
	u, err := hostURL(name, t.OverridePath)
	if err != nil {
		return nil, err
	}
	if u.Host == dockerHub {
		u.Host = dockerHubServer
	}
	h := &Host{URL: u, Mirror: !isRegistry(u.Host, registry), Header: http.Header{}}
	if err := h.setCapabilities(t.Capabilities); err != nil {
		return nil, err
	}
	for key, value := range t.Header {
		values, err := texts(value)
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", key, err)
		}
		for _, v := range values {
			if !validHeader(key, v) {
				// The value may be a secret.
				return nil, fmt.Errorf("header %q: no valid HTTP header", key)
			}
			h.Header.Add(key, v)
		}
	}
	if t.DialTimeout != "" {
		if h.DialTimeout, err = time.ParseDuration(t.DialTimeout); err != nil || h.DialTimeout <= 0 {
			return nil, fmt.Errorf("dial_timeout %q: want a duration such as \"5s\"", t.DialTimeout)
		}
	}
	if t.Proxy != "" {
		if h.Proxy, err = proxyURL(t.Proxy); err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
	}
	files := TLSFiles{SkipVerify: t.SkipVerify != nil && *t.SkipVerify}
	if t.CA != nil {
		if files.CA, err = texts(t.CA); err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
	}
	if files.Client, err = clientPairs(t.Client); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	for i := range files.CA {
		files.CA[i] = below(dir, files.CA[i])
	}
	for i := range files.Client {
		files.Client[i] = [2]string{below(dir, files.Client[i][0]), below(dir, files.Client[i][1])}
	}
	if h.TLS, err = files.load(u.Scheme); h.TLS != nil {
		h.Files = files
	}
	return h, err
}

// hostURL: without a path, or with override_path unset, the API is below "/v2"; with it, the path is taken as it is.
func hostURL(name string, overridePath bool) (*url.URL, error) {
	if !strings.Contains(name, "://") {
		name = defaultScheme(name) + "://" + name
	}
	u, err := url.Parse(name)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("want http:// or https:// and a host")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want a URL without user, query and fragment; credentials belong into the pod's imagePullSecrets")
	}
	p := path.Clean("/" + u.Path)
	if !overridePath && !strings.HasSuffix(p, "/v2") {
		p = path.Join(p, "v2")
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: strings.TrimSuffix(p, "/")}, nil
}

// proxyURL takes what net/http can use as a proxy. Errors don't hold it: it may have a password.
func proxyURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	if !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) || u.Hostname() == "" {
		return nil, errors.New("want http://, https://, socks5:// or socks5h:// and a host")
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, errors.New("want a URL without path, query and fragment")
	}
	return u, nil
}

func (h *Host) setCapabilities(list []string) error {
	if len(list) == 0 {
		h.Pull, h.Resolve = true, true
		return nil
	}
	for _, c := range list {
		switch c {
		case "pull":
			h.Pull = true
		case "resolve":
			h.Resolve = true
		case "push", "referrers":
		default:
			return fmt.Errorf("capability %q: want pull, resolve, push or referrers", c)
		}
	}
	return nil
}

// texts takes a text or a list of them.
func texts(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case []any:
		var list []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, errors.New("want a text or a list of texts")
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, errors.New("want a text or a list of texts")
}

// clientPairs takes "both.pem", ["both.pem", …] or [["cert.pem", "key.pem"], …].
func clientPairs(v any) ([][2]string, error) {
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var pairs [][2]string
	for _, e := range list {
		parts, err := texts(e)
		switch {
		case err == nil && len(parts) == 1:
			pairs = append(pairs, [2]string{parts[0], parts[0]})
		case err == nil && len(parts) == 2 && parts[1] == "":
			pairs = append(pairs, [2]string{parts[0], parts[0]})
		case err == nil && len(parts) == 2:
			pairs = append(pairs, [2]string{parts[0], parts[1]})
		default:
			return nil, errors.New("want a path, a list of paths, or a list of pairs of certificate and key")
		}
	}
	return pairs, nil
}

func below(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

// validHeader: what net/http would refuse later, with the value in its error.
func validHeader(key, value string) bool {
	const token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if key == "" || strings.Trim(key, token) != "" {
		return false
	}
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
