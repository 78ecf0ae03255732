package spec

import "slices"

// Process is how one program of a container runs: the container's own or one that is exec'd into it. It is all that decides the
// process's state: how podlet itself was started has no part in it.
type Process struct {
	Args, Env []string
	// Programs are the paths to try execve with, in order.
	Programs []string
	Cwd      string
	UID, GID uint32
	Groups   []uint32
	Caps     CapabilitySets

	NoNewPrivs  bool
	Seccomp     SeccompProfile
	TTY         bool
	OOMScoreAdj int
	// OpenFilesSoft and OpenFilesHard are RLIMIT_NOFILE.
	OpenFilesSoft, OpenFilesHard uint64
}

// RLIMIT_NOFILE of a process: what systemd gives to the services of a node. select(2) can't take fds beyond the soft one.
const (
	openFilesSoft = 1024
	openFilesHard = 524288
)

// NewProcess resolves the container's own process. missing names capabilities that were asked for and can't be given.
func NewProcess(s *Sandbox, c *Container, image *Image, id *Identity, m *Machine) (p *Process, missing []string, err error) {
	args, err := Arguments(c, image)
	if err != nil {
		return nil, nil, err
	}
	caps, missing, err := c.Capabilities.Sets(c.Privileged, m)
	if err != nil {
		return nil, nil, err
	}
	env := Environment(c, image, id, s.Hostname)
	return &Process{
		Args:          args,
		Env:           env,
		Programs:      Programs(args[0], env),
		Cwd:           WorkingDir(c, image),
		UID:           id.UID,
		GID:           id.GID,
		Groups:        id.Groups,
		Caps:          caps,
		NoNewPrivs:    c.NoNewPrivs,
		Seccomp:       c.seccomp(),
		TTY:           c.TTY,
		OOMScoreAdj:   c.OOMScoreAdj,
		OpenFilesSoft: min(openFilesSoft, m.MaxOpenFiles),
		OpenFilesHard: min(openFilesHard, m.MaxOpenFiles),
	}, missing, nil
}

func (c *Container) seccomp() SeccompProfile {
	if c.Privileged {
		return SeccompUnconfined
	}
	return c.Seccomp
}

// Exec is the process of a command run inside the container: the same but for its arguments and terminal.
func (p *Process) Exec(args []string, tty bool) *Process {
	e := *p
	e.Args = args
	e.TTY = tty
	e.Programs = Programs(args[0], p.Env)
	if tty && !slices.ContainsFunc(p.Env, func(v string) bool { return len(v) > 5 && v[:5] == "TERM=" }) {
		e.Env = append(slices.Clone(p.Env), "TERM=xterm")
	}
	return &e
}
