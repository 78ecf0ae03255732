package pod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"podlet/internal/mount"
	"podlet/pause"
	"podlet/pod/launch"
	"podlet/pod/spec"
	"podlet/pod/tape"
)

// shmSize is the limit of a pod's /dev/shm in bytes, as other runtimes have it.
const shmSize = 64 << 20

// shmInodes bounds the files in a pod's /dev/shm.
const shmInodes = 65536

// RunPod is RunPodSandbox: it makes the pod's namespaces and its pause and returns the pod's id. A second call with the same
// metadata while the first is under way waits for it and has its result.
func (r *Runtime) RunPod(ctx context.Context, s *spec.Sandbox) (string, error) {
	key := fmt.Sprintf("pod %q %q %q %d", s.Namespace, s.Name, s.UID, s.Attempt)
	id, err := r.flights.do(ctx, key, func() (string, error) { return r.runPod(ctx, s) })
	if err != nil {
		return "", fmt.Errorf("run pod %s/%s: %w", s.Namespace, s.Name, err)
	}
	return id, nil
}

func (r *Runtime) runPod(ctx context.Context, s *spec.Sandbox) (_ string, err error) {
	if other := r.podNamed(s); other != nil {
		return "", fmt.Errorf("it (uid %s, attempt %d) is there already as %s: %w", s.UID, s.Attempt, other.id, ErrExists)
	}
	if s.RuntimeHandler != "" {
		return "", fmt.Errorf("runtime handler %q: %w: podlet has the default handler only", s.RuntimeHandler, ErrInvalid)
	}
	if err := r.checkNetwork(s); err != nil {
		return "", err
	}
	p := r.newPod(newID(), s)
	p.mu.rec = podRecord{Spec: s, State: PodCreating, Created: time.Now()}
	close(p.recovered)

	var back undo
	defer func() { back.unless(&err) }()
	p.mu.Lock()
	err = p.saveLocked(func(*podRecord) {})
	p.mu.Unlock()
	if err != nil {
		return "", err
	}
	back.add(func(ctx context.Context) error {
		err := p.removeHalf(ctx)
		if err != nil {
			r.janitor.owePod(p)
		}
		return err
	})
	if err := p.startPause(ctx); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	conn := p.conn()
	p.mu.Lock()
	err = p.saveLocked(func(rec *podRecord) { rec.State = PodReady })
	p.mu.Unlock()
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	r.mu.pods[p.id] = p
	r.mu.Unlock()
	p.mu.Lock()
	p.tellLocked(p.id, EventCreated)
	p.tellLocked(p.id, EventStarted)
	p.mu.Unlock()
	p.keep(conn)
	return p.id, nil
}

func (r *Runtime) newPod(id string, s *spec.Sandbox) *Pod {
	p := &Pod{rt: r, id: id, spec: s, recovered: make(chan struct{}), tearing: make(chan struct{}, 1), logger: make(chan struct{}, 1)}
	p.mu.containers = map[string]*Container{}
	p.mu.execs = map[pause.ID]chan pause.State{}
	return p
}

func (r *Runtime) podNamed(s *spec.Sandbox) *Pod {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.mu.pods {
		if p.spec.Name == s.Name && p.spec.Namespace == s.Namespace && p.spec.UID == s.UID && p.spec.Attempt == s.Attempt {
			return p
		}
	}
	return nil
}

// startPause brings the pod's pause up and connects to it. Meanwhile the pod's Network makes ready for the pod, and connects its network namespace as
// soon as there is one. What fails first ends the other.
func (p *Pod) startPause(ctx context.Context) error {
	n, err := p.rt.getNursery(ctx)
	if err != nil {
		return err
	}
	files := fds{}
	defer files.close()
	netns := newPendingNetNS()
	defer netns.close()
	var launched error
	work, both := errgroup.WithContext(ctx)
	if p.networked() {
		work.Go(p.rt.caught(func() error { return p.addToNetwork(both, netns.await) }))
	}
	work.Go(p.rt.caught(func() error {
		launched = p.launchPause(both, n, files, netns)
		return launched
	}))
	err = work.Wait()
	if launched != nil && errors.Is(err, ctx.Err()) {
		return launched // time is up for both, and one of them knows what it hung in
	}
	if err != nil {
		return err
	}
	if p.spec.OwnNetwork() {
		if err := p.finishNetwork(ctx, files[launch.FDPodRoot], netns.await); err != nil {
			return err
		}
	}
	if !p.spec.SharedPID {
		return nil
	}
	if err := p.startInit(ctx); err != nil {
		return fmt.Errorf("start the first process of its shared PID namespace: %w", err)
	}
	return nil
}

// launchPause has the nursery clone the pod's pause, and meets it.
func (p *Pod) launchPause(ctx context.Context, n *pause.Nursery, files fds, netns pendingNetNS) error {
	if err := p.podFiles(ctx, n, files); err != nil {
		return err
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	files[launch.FDReady] = theirs
	t, err := launch.Pod(p.spec)
	if err != nil {
		return err
	}
	wire, passed, err := files.pack(t)
	if err != nil {
		return err
	}
	listen, err := pause.Listen(p.rt.socket(p.id))
	if err != nil {
		return err
	}
	longer, cancel := outlast(ctx, cloneTime)
	defer cancel()
	proc, err := n.Clone(longer, pause.Clone{
		ID: pauseID(p.id), Kind: pause.KindPause, Flags: launch.PodFlags(p.spec), Tape: wire, FDs: passed, Listen: listen, Name: p.id[:31],
	})
	// pause's copies are the last ones as soon as the nursery has answered: if it dies, nobody waits for it.
	listen.Close()
	theirs.Close()
	if err != nil {
		return explainFailure(t, err)
	}
	p.mu.Lock()
	p.mu.pidfd = proc.PIDFD
	p.mu.Unlock()
	if err := p.meetPause(ctx, t, proc, ready, netns); err != nil {
		if status, statusErr := proc.Status(); statusErr == nil && status.Errno != 0 {
			return t.Error(status.Step, int32(status.Errno))
		}
		return err
	}
	return nil
}

// meetPause pins the pod's network namespace and hands it on as soon as it is set up, and connects to pause, which plays the rest of its tape meanwhile.
func (p *Pod) meetPause(ctx context.Context, t *tape.Tape, proc *pause.Process, ready *os.File, netns pendingNetNS) error {
	if p.spec.OwnNetwork() {
		// ErrClosed: the nursery has died and can't be asked for the tape's end any more; the pause that it cloned lives on, or else has no namespace.
		if err := awaitReady(ctx, t, ready, proc); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
		ns, err := p.pinNetwork()
		if err != nil && ended(proc.PIDFD) {
			return errNoPause
		}
		if err != nil {
			return err
		}
		netns.made(ns)
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.mu.conn = conn
	p.mu.Unlock()
	return nil
}

// podFiles opens what the pod's tape wants: its tmpfs with the files of /etc, /dev/shm and the namespaces of a userns pod.
func (p *Pod) podFiles(ctx context.Context, n *pause.Nursery, files fds) error {
	var root owner
	if p.spec.UserNS != nil {
		own, err := p.userNamespace(ctx, n, files)
		if err != nil {
			return fmt.Errorf("user namespace: %w", err)
		}
		root = own
	}
	content, err := p.etcFiles()
	if err != nil {
		return err
	}
	var names []string
	for name := range content {
		names = append(names, name)
	}
	tmpfs, err := mount.Tmpfs(mount.TmpfsConfig{Size: 4 << 20, Inodes: 128, Mode: 0o755, NoSuid: true, NoDev: true, NoExec: true})
	if err := files.add(launch.FDPodRoot, tmpfs, err); err != nil {
		return err
	}
	if err := fill(tmpfs, launch.PodDirs, names, content, root); err != nil {
		return fmt.Errorf("fill the pod's tmpfs: %w", err)
	}
	if p.spec.HostIPC {
		return nil
	}
	shm, err := mount.Tmpfs(mount.TmpfsConfig{
		Size: shmSize, Inodes: shmInodes, Mode: 0o1777, UID: root.uid, GID: root.gid, NoSuid: true, NoDev: true, NoExec: true,
	})
	return files.add(launch.FDPodShm, shm, err)
}

// startInit starts the PID 1 of a shared PID namespace. It lives as long as pause holds the gate's other end, which is as long as pause lives.
func (p *Pod) startInit(ctx context.Context) error {
	t, err := launch.Init(p.spec)
	if err != nil {
		return err
	}
	files := fds{}
	defer files.close()
	if p.spec.UserNS != nil {
		userns, err := p.openNamespace("user")
		if err := files.add(launch.FDUserNS, userns, err); err != nil {
			return err
		}
	}
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	files[launch.FDReady] = theirs
	wire, passed, err := files.pack(t)
	if err != nil {
		return err
	}
	read, write, err := pipe(-1, -1)
	if err != nil {
		return err
	}
	defer read.Close()
	defer write.Close()
	// pause keeps the write end as the process's input: it closes when pause does.
	proc, err := p.conn().Clone(ctx, pause.Clone{
		ID: initID(p.id), Kind: pause.KindInit, Tape: wire, FDs: passed, Gate: read, Stdin: write, Name: p.id[:31],
	})
	if err != nil {
		return explainFailure(t, err)
	}
	p.mu.Lock()
	p.mu.init = proc.PIDFD
	p.mu.Unlock()
	// Nobody else may hold the other end: neither podlet nor, since it has answered, pause.
	files.close()
	return awaitReady(ctx, t, ready, proc)
}

// awaitReady waits until the tape has let go of the other end of ready, or has failed.
func awaitReady(ctx context.Context, t *tape.Tape, ready *os.File, proc *pause.Process) error {
	stop := context.AfterFunc(ctx, func() { ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := ready.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("wait until it is set up: %w", errors.Join(err, ctx.Err()))
	}
	status, err := proc.Status()
	if err != nil {
		return err
	}
	return t.Error(status.Step, int32(status.Errno))
}

// initID is pause's name for the PID 1 of the pod's shared PID namespace: the pod's own id.
func initID(podID string) pause.ID { return pauseID(podID) }

func (p *Pod) conn() *pause.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.conn
}
