package spec

import (
	"errors"
	"path"
	"strings"
)

// ErrNoCommand says that neither the container nor its image names a program.
var ErrNoCommand = errors.New("no command: neither the container's command and args nor the image's entrypoint and cmd name a program")

// DefaultPath is the PATH of a process whose image and pod set none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Arguments gives argv by the rules of Kubernetes ("Define a Command and Arguments for a Container"): a command replaces
// the image's entrypoint and drops its cmd; args alone replace the cmd.
func Arguments(c *Container, image *Image) ([]string, error) {
	var argv []string
	switch {
	case len(c.Command) > 0:
		argv = append(append(argv, c.Command...), c.Args...)
	case len(c.Args) > 0:
		argv = append(append(argv, image.Entrypoint...), c.Args...)
	default:
		argv = append(append(argv, image.Entrypoint...), image.Cmd...)
	}
	if len(argv) == 0 || argv[0] == "" {
		return nil, ErrNoCommand
	}
	return argv, nil
}

// Environment merges, the later winning and in order of first appearance: podlet's own (PATH, HOSTNAME, TERM for a TTY, HOME), the
// image's and the container's variables. HOME is the user's home directory unless someone sets it.
func Environment(c *Container, image *Image, id *Identity, hostname string) []string {
	var env environment
	env.set("PATH", DefaultPath)
	if hostname != "" {
		env.set("HOSTNAME", hostname)
	}
	if c.TTY {
		env.set("TERM", "xterm")
	}
	home := id.Home
	if home == "" {
		home = "/"
	}
	env.set("HOME", home)
	for _, v := range image.Env {
		if name, value, ok := strings.Cut(v, "="); ok && name != "" {
			env.set(name, value)
		}
	}
	for _, v := range c.Env {
		env.set(v.Name, v.Value)
	}
	return env.list
}

type environment struct {
	list []string
	at   map[string]int
}

func (e *environment) set(name, value string) {
	if e.at == nil {
		e.at = map[string]int{}
	}
	if i, ok := e.at[name]; ok {
		e.list[i] = name + "=" + value
		return
	}
	e.at[name] = len(e.list)
	e.list = append(e.list, name+"="+value)
}

// WorkingDir is the container's, else the image's, else "/". A relative one counts from "/".
func WorkingDir(c *Container, image *Image) string {
	dir := c.WorkingDir
	if dir == "" {
		dir = image.WorkingDir
	}
	return path.Join("/", dir)
}

// Programs lists the paths that execve is tried with, in order: argv0 itself if it has a slash, else one for each entry of the
// PATH in env (execvp(3); an empty entry is the working directory).
func Programs(argv0 string, env []string) []string {
	if strings.Contains(argv0, "/") {
		return []string{argv0}
	}
	search := DefaultPath
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			search = value
		}
	}
	var programs []string
	for dir := range strings.SplitSeq(search, ":") {
		if dir == "" {
			dir = "."
		}
		programs = append(programs, dir+"/"+argv0)
	}
	return programs
}
