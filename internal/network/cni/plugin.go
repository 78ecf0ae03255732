package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

const (
	// maxOutput bounds what is kept of a plugin's output, maxMessage of what it says on stderr, in bytes.
	maxOutput, maxMessage = 4 << 20, 4 << 10
	// heldTime is how long a plugin's output may stay open after the plugin has ended: something it started has it.
	heldTime = time.Second
	// busyTries is how often a plugin is started that is being written, busyWait the time in between.
	busyTries, busyWait = 10, 100 * time.Millisecond
)

// pluginPath is what plugins find their own programs by (iptables, ip). Nothing else of podlet's environment is theirs.
const pluginPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// errWritable says that others than root can change what podlet would run as root, or believe.
var errWritable = errors.New("everybody may write to it: take that right away (chmod o-w)")

// find gives the path of a plugin.
func (n *Network) find(plugin string) (string, error) {
	if plugin == "" || strings.ContainsRune(plugin, '/') || plugin == "." || plugin == ".." {
		return "", fmt.Errorf("%q is no name of a plugin", plugin)
	}
	for _, dir := range n.cfg.BinDirs {
		path := filepath.Join(dir, plugin)
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		if err := guarded(dir); err != nil {
			return "", err
		}
		if st.Mode&0o111 == 0 {
			return "", fmt.Errorf("plugin %s can't be executed: its mode is %04o", path, st.Mode&0o7777)
		}
		return path, notWritable(path, &st)
	}
	return "", fmt.Errorf("plugin %q is in none of %s: install it, or see --cni-bin-dirs", plugin, strings.Join(n.cfg.BinDirs, ", "))
}

// absent says that no directory has anything of the plugin's name. One that can't be looked at may have it.
func (n *Network) absent(plugin string) bool {
	for _, dir := range n.cfg.BinDirs {
		var st unix.Stat_t
		if unix.Lstat(filepath.Join(dir, plugin), &st) != unix.ENOENT {
			return false
		}
	}
	return true
}

// guarded refuses a directory in which everybody may put files.
func guarded(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("stat %s: %w", dir, err)
	}
	return notWritable(dir, &st)
}

func notWritable(path string, st *unix.Stat_t) error {
	if st.Mode&0o002 != 0 {
		return fmt.Errorf("%s: %w", path, errWritable)
	}
	return nil
}

// call is one run of one plugin.
type call struct {
	verb, plugin, file string
	env                []string
	input              []byte
	began              time.Time
	limit              time.Duration
	// started says that there was a process of the plugin.
	started bool
}

// failed is the call's error.
func (c *call) failed(message string, err error) *PluginError {
	return &PluginError{Verb: c.verb, Plugin: c.plugin, File: c.file, Message: message, Took: time.Since(c.began), Limit: c.limit, Err: err}
}

// run runs a plugin in a process group of its own and gives its output. When ctx ends, the group is killed.
func (n *Network) run(ctx context.Context, c *call) ([]byte, error) {
	path, err := n.find(c.plugin)
	if err != nil {
		return nil, c.failed("", err)
	}
	for try := 1; ; try++ {
		began := time.Now()
		out, said, err := execute(ctx, path, c)
		if errors.Is(err, syscall.ETXTBSY) && try < busyTries && sleep(ctx, busyWait) {
			continue
		}
		n.cfg.Log.Debug("CNI plugin", "plugin", c.plugin, "verb", c.verb, "took", time.Since(began), "stderr", string(said), "failed", err != nil)
		if err == nil {
			return out, nil
		}
		return nil, c.explain(ctx, err, out, said)
	}
}

func execute(ctx context.Context, path string, c *call) (out, said []byte, err error) {
	stdout, stderr := limited{most: maxOutput}, limited{most: maxMessage}
	cmd := exec.CommandContext(ctx, path)
	cmd.Env, cmd.Dir = c.env, "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.input), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = heldTime
	cmd.Cancel = func() error {
		// As long as the plugin isn't reaped, its number is its group's.
		if err := cmd.Process.Signal(unix.Signal(0)); err != nil {
			return err
		}
		return unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	if err = cmd.Start(); err == nil {
		c.started = true
		err = cmd.Wait()
	}
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		// It ended well, and what it left running has its output still: that is a daemon's way, and its own.
		err = nil
	}
	if err == nil && stdout.over {
		err = fmt.Errorf("it wrote more than %d bytes", maxOutput)
	}
	return stdout.kept, stderr.kept, err
}

// explain makes a plugin's failure an error that says what it was.
func (c *call) explain(ctx context.Context, err error, out, said []byte) error {
	message := strings.TrimSpace(string(said))
	if cause := context.Cause(ctx); cause != nil {
		return c.failed(message, cause)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return c.failed("", err)
	}
	var told types.Error
	if json.Unmarshal(out, &told) != nil || told.Msg == "" && told.Code == 0 {
		if message == "" {
			message = strings.TrimSpace(string(out[:min(len(out), maxMessage)]))
		}
		if message == "" {
			message = "it says nothing"
		}
		return c.failed(fmt.Sprintf("%s (%s)", message, exit), nil)
	}
	e := c.failed(told.Error(), nil)
	e.Code = told.Code
	if told.Code == codeTryAgain {
		e.Err = ErrTryAgain
	}
	return e
}

// limited keeps the beginning of what is written to it.
type limited struct {
	kept []byte
	most int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	rest := l.most - len(l.kept)
	if len(p) > rest {
		l.over = true
	}
	l.kept = append(l.kept, p[:min(len(p), rest)]...)
	return len(p), nil
}

// sleep gives false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// environment is a plugin's: the spec's variables, PATH and, of a GC, podlet's mark.
func (n *Network) environment(verb string, a *attachment, netns string) []string {
	env := []string{pluginPath, "CNI_COMMAND=" + verb, "CNI_PATH=" + strings.Join(n.cfg.BinDirs, string(os.PathListSeparator))}
	if verb == "GC" {
		return append(env, n.collectorMark())
	}
	if a == nil {
		return env
	}
	return append(env, containerEnv+a.Pod, "CNI_NETNS="+netns, "CNI_IFNAME="+ifName, "CNI_ARGS="+a.Args)
}

// containerEnv is how the environment names the pod.
const containerEnv = "CNI_CONTAINERID="
