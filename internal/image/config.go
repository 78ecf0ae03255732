package image

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Config is what an image says about the process to start (OCI image specification, config.md; Docker's config has the same fields). It is a stranger's
// word: texts without NUL, within bounds, that nothing in podlet interprets beyond their own meaning. Labels above all are never read (CVE-2026-53488).
type Config struct {
	Entrypoint, Cmd []string
	// Env are "NAME=value", in the image's order.
	Env []string
	// WorkingDir is absolute and cleaned; "/" where the image says nothing.
	WorkingDir string
	// User is as the image has it; see [Users.Resolve] and [Config.DefaultUser].
	User string
	// StopSignal is as the image has it, "" for none; see [Config.Signal].
	StopSignal string
	// Volumes are absolute cleaned paths, sorted.
	Volumes []string
	// ExposedPorts are as the image has them ("80/tcp"), sorted.
	ExposedPorts []string
	Labels       map[string]string
	// OS, Architecture and Variant name the platform; Created is the zero time where unknown.
	OS, Architecture, Variant string
	Created                   time.Time

	diffIDs []Digest
}

type configDocument struct {
	Created      *time.Time `json:"created"`
	OS           string     `json:"os"`
	Architecture string     `json:"architecture"`
	Variant      string     `json:"variant"`
	Config       struct {
		User         string              `json:"User"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts"`
		Env          []string            `json:"Env"`
		Entrypoint   []string            `json:"Entrypoint"`
		Cmd          []string            `json:"Cmd"`
		Volumes      map[string]struct{} `json:"Volumes"`
		WorkingDir   string              `json:"WorkingDir"`
		Labels       map[string]string   `json:"Labels"`
		StopSignal   string              `json:"StopSignal"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []Digest `json:"diff_ids"`
	} `json:"rootfs"`
}

// parseConfig decodes and checks an image's config.
func parseConfig(data []byte) (Config, error) {
	if len(data) > maxConfigBytes {
		return Config{}, invalid("config of %d bytes: at most %d", len(data), maxConfigBytes)
	}
	var d configDocument
	if err := decodeStrict(data, &d); err != nil {
		return Config{}, invalid("config: %w", err)
	}
	c := Config{
		Entrypoint: d.Config.Entrypoint, Cmd: d.Config.Cmd, Env: d.Config.Env,
		User: d.Config.User, StopSignal: d.Config.StopSignal, Labels: d.Config.Labels,
		OS: d.OS, Architecture: d.Architecture, Variant: d.Variant,
		diffIDs: d.RootFS.DiffIDs,
	}
	if d.Created != nil {
		c.Created = *d.Created
	}
	if err := c.check(); err != nil {
		return Config{}, invalid("config: %w", err)
	}
	if err := c.setPaths(d.Config.WorkingDir, slices.Sorted(maps.Keys(d.Config.Volumes))); err != nil {
		return Config{}, invalid("config: %w", err)
	}
	if len(d.Config.ExposedPorts) > maxMapEntries {
		return Config{}, invalid("config: %d ExposedPorts: at most %d", len(d.Config.ExposedPorts), maxMapEntries)
	}
	c.ExposedPorts = slices.Sorted(maps.Keys(d.Config.ExposedPorts))
	if d.RootFS.Type != "layers" {
		return Config{}, invalid("config: rootfs type %s: want \"layers\"", quote(d.RootFS.Type))
	}
	return c, nil
}

func (c *Config) check() error {
	for _, list := range []struct {
		name string
		args []string
	}{{"Entrypoint", c.Entrypoint}, {"Cmd", c.Cmd}, {"Env", c.Env}} {
		if err := checkArgs(list.name, list.args); err != nil {
			return err
		}
	}
	for _, e := range c.Env {
		if i := strings.IndexByte(e, '='); i <= 0 {
			return invalid("Env has %s: want NAME=value", quote(e))
		}
	}
	if len(c.User) > maxUserBytes || hasControl(c.User) {
		return invalid("User is %s: want at most %d bytes without control characters", quote(c.User), maxUserBytes)
	}
	if len(c.StopSignal) > maxSignalBytes || hasControl(c.StopSignal) {
		return invalid("StopSignal is %s: want at most %d bytes without control characters", quote(c.StopSignal), maxSignalBytes)
	}
	if len(c.Labels) > maxMapEntries {
		return invalid("%d Labels: at most %d", len(c.Labels), maxMapEntries)
	}
	if n := len(c.diffIDs); n == 0 || n > maxLayers {
		return invalid("%d layers: want 1 to %d", n, maxLayers)
	}
	for i, d := range c.diffIDs {
		if d.IsZero() {
			return invalid("layer %d has no diffID", i)
		}
	}
	return nil
}

func checkArgs(name string, args []string) error {
	if len(args) > maxArgs {
		return invalid("%s has %d entries: at most %d", name, len(args), maxArgs)
	}
	total := 0
	for _, a := range args {
		if strings.IndexByte(a, 0) >= 0 {
			return invalid("%s has an entry with a NUL byte: %s", name, quote(a))
		}
		total += len(a) + 1
	}
	if total > maxArgBytes {
		return invalid("%s has %d bytes: at most %d", name, total, maxArgBytes)
	}
	return nil
}

// setPaths takes relative paths as below the root, as other runtimes do; ".." ends at the root here, and is no way out at the mount either.
func (c *Config) setPaths(workingDir string, volumes []string) error {
	if len(volumes) > maxMapEntries {
		return invalid("%d Volumes: at most %d", len(volumes), maxMapEntries)
	}
	for _, p := range append([]string{workingDir}, volumes...) {
		if len(p) > maxPathBytes || strings.IndexByte(p, 0) >= 0 {
			return invalid("WorkingDir or volume %s: want at most %d bytes without NUL", quote(p), maxPathBytes)
		}
	}
	c.WorkingDir = path.Clean("/" + workingDir)
	for _, v := range volumes {
		c.Volumes = append(c.Volumes, path.Clean("/"+v))
	}
	slices.Sort(c.Volumes)
	c.Volumes = slices.Compact(c.Volumes)
	return nil
}

// Signal gives StopSignal as a number, 0 where the image has none: "SIGTERM", "TERM", "15", "SIGRTMIN+3", "RTMAX-1" in any case (signal(7)).
func (c *Config) Signal() (unix.Signal, error) {
	if c.StopSignal == "" {
		return 0, nil
	}
	n, ok := parseSignal(c.StopSignal)
	if !ok {
		return 0, invalid("the image's StopSignal %s is no signal", quote(c.StopSignal))
	}
	return n, nil
}

const (
	sigRTMin = 34 // glibc and musl keep 32 and 33 for themselves
	sigRTMax = 64
)

func parseSignal(s string) (unix.Signal, bool) {
	if isDigits(s) {
		n, err := strconv.Atoi(s)
		return unix.Signal(n), err == nil && n >= 1 && n <= sigRTMax
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	for base, sign := range map[string]int{"RTMIN": 1, "RTMAX": -1} {
		rest, ok := strings.CutPrefix(name, base)
		if !ok {
			continue
		}
		n := sigRTMin
		if sign < 0 {
			n = sigRTMax
		}
		if rest != "" {
			if rest[0] != "+-"[(1-sign)/2] || !isDigits(rest[1:]) || len(rest) > 3 {
				return 0, false
			}
			offset, _ := strconv.Atoi(rest[1:])
			n += sign * offset
		}
		return unix.Signal(n), n >= sigRTMin && n <= sigRTMax
	}
	n := unix.SignalNum("SIG" + name)
	return n, n != 0
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// hasControl reports bytes below a space, DEL, or text that isn't UTF-8.
func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return true
		}
	}
	return !utf8.ValidString(s)
}
