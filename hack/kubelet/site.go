package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"golang.org/x/sys/unix"

	"podlet/hack/node"
	"podlet/hack/testimages/testimage"
)

//go:embed config.yaml pods
var files embed.FS

const nodeName = "podlet-node"

// bridgeName is that of podlet's bridge, in the network namespace that both run in.
const bridgeName = "podletkubelet"

// site is podlet and the kubelet with all they have: everything lies below the node's directory, but for the cgroup.
type site struct {
	node    *node.Node
	kubelet *kubelet
	// cgroup is the name of the kubelet's, below the root of every hierarchy.
	cgroup string
	// port is the one that the app of pod web listens on, hostPort the one that leads to pod bridged.
	port, hostPort int
	// clientBinary is kubectl's library as a program, catBytes what it sends through cat.
	clientBinary string
	catBytes     int64
	// sysctls are the values that the kubelet may have changed.
	sysctls map[string]string
	// ownDirs are directories in fixed places that were not there before the kubelet.
	ownDirs []string
}

func newSite(ctx context.Context, podlet, kubelet, layout string) (_ *site, err error) {
	s := &site{cgroup: fmt.Sprintf("podlet-kubelet-%d", os.Getpid())}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(&page{w: io.Discard}))
		}
	}()
	if s.sysctls, err = readSysctls(); err != nil {
		return nil, err
	}
	if s.ownDirs, err = absentDirs(); err != nil {
		return nil, err
	}
	if err := makeCgroups(s.cgroup); err != nil {
		return nil, err
	}
	if s.node, err = node.Start(ctx, node.Options{Podlet: podlet, Images: []string{layout}, Bridge: bridgeName}); err != nil {
		return nil, err
	}
	for _, dir := range []string{s.root(), s.manifests(), s.path("aside"), s.path("notes")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	s.port, s.hostPort = ports[0], ports[3]
	config, err := render("config.yaml", map[string]any{
		"Socket": s.path("podlet.sock"), "Manifests": s.manifests(), "Logs": s.node.LogDir(), "Root": s.root(),
		"Port": ports[1], "HealthPort": ports[2], "Cgroup": s.cgroup,
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.path("kubelet.yaml"), config, 0o600); err != nil {
		return nil, err
	}
	s.kubelet = newKubelet(kubelet, s.path("kubelet.yaml"), s.root(), s.path("kubelet.log"), ports[1], ports[2])
	return s, s.kubelet.start(ctx)
}

func (s *site) path(name string) string { return filepath.Join(s.node.Dir, name) }
func (s *site) root() string            { return s.path("kubelet") }
func (s *site) manifests() string       { return s.path("manifests") }

// note is a file that the pods see as /notes/NAME.
func (s *site) note(name string) string { return filepath.Join(s.path("notes"), name) }

// noteLines are the whole lines of a note, none if there is none yet.
func (s *site) noteLines(name string) []string {
	text, _ := os.ReadFile(s.note(name))
	lines := strings.Split(string(text), "\n")
	return lines[:len(lines)-1]
}

// addPod gives the kubelet a manifest, whole: it looks at the directory as soon as a name appears.
func (s *site) addPod(name string) error {
	text, err := render("pods/"+name+".yaml", map[string]any{
		"Image": testimage.ToolsName, "Notes": s.path("notes"), "Port": s.port, "HostPort": s.hostPort,
	})
	if err != nil {
		return err
	}
	aside := filepath.Join(s.path("aside"), name+".yaml")
	if err := os.WriteFile(aside, text, 0o644); err != nil {
		return err
	}
	return os.Rename(aside, filepath.Join(s.manifests(), name+".yaml"))
}

func (s *site) removePod(name string) error {
	return os.Remove(filepath.Join(s.manifests(), name+".yaml"))
}

func render(name string, values map[string]any) ([]byte, error) {
	t, err := template.New(filepath.Base(name)).Option("missingkey=error").ParseFS(files, name)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	if err := t.Execute(&out, values); err != nil {
		return nil, err
	}
	return []byte(out.String()), nil
}

// freePorts gives ports of the loopback device that nobody listens on now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// explain shows what went wrong as both saw it.
func (s *site) explain(w io.Writer) {
	fmt.Fprintf(w, "\npodlet said last:\n%s\n\nthe kubelet said last of errors:\n%s\n", s.node.LogTail(), s.kubelet.errors(30))
}

func (s *site) keepLogs(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var failed []error
	for _, name := range []string{"podlet.log", "kubelet.log"} {
		text, err := os.ReadFile(s.path(name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// event is a line of the kubelet's log about a container or a sandbox: the id is podlet's.
var event = regexp.MustCompile(`"Data":"([0-9a-f]{64})"`)

// names are those that everything of this run has in its path: directories, the cgroup, ids of sandboxes and containers.
func (s *site) names() ([]string, error) {
	text, err := os.ReadFile(s.path("kubelet.log"))
	names := append([]string{s.node.Dir, s.cgroup}, fixedDirs...)
	for _, match := range event.FindAllStringSubmatch(string(text), -1) {
		names = append(names, match[1])
	}
	return names, err
}

// close ends both and takes back what the kubelet leaves on a machine. It has no context: it is for the end of a cancelled run too.
func (s *site) close(p *page) error {
	var failed []error
	if s.kubelet != nil {
		failed = append(failed, s.kubelet.stop())
	}
	if s.node != nil {
		mounts, err := mountsBelow(s.node.Dir)
		if err != nil {
			failed = append(failed, err)
		}
		for _, at := range mounts {
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				failed = append(failed, fmt.Errorf("unmount %s: %w", at, err))
			}
		}
		failed = append(failed, clearFixed(s.node.Dir, s.ownDirs))
		err = s.node.Close()
		p.check(err == nil, "podlet removes what is left of the pods and ends on SIGTERM")
		failed = append(failed, err)
	}
	return errors.Join(append(failed, removeCgroups(s.cgroup), writeSysctls(s.sysctls))...)
}
