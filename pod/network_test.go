package pod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/pause"
	"podlet/pod/spec"
)

// fakeNetwork gives addresses that lead nowhere, keeps account of them, and fails when it is told to.
type fakeNetwork struct {
	sync.Mutex
	has map[string]*Attachment
	// left says of each pod that was told to leave whether its namespace was there.
	left      map[string]bool
	given     int
	recovered []NetworkPod
	// onAdd is asked when the namespace is there, and onRemove before anything is done.
	onAdd, onRemove func(context.Context, NetworkPod) error
	// onCall is asked by Add before it waits for the namespace.
	onCall func(context.Context, NetworkPod) error
}

func (f *fakeNetwork) ask(hook *func(context.Context, NetworkPod) error, ctx context.Context, p NetworkPod) error {
	f.Lock()
	ask := *hook
	f.Unlock()
	if ask == nil {
		return nil
	}
	return ask(ctx, p)
}

// told sets the hooks for as long as f runs.
func (f *fakeNetwork) told(add, remove func(context.Context, NetworkPod) error, do func()) {
	set := func(a, r func(context.Context, NetworkPod) error) {
		f.Lock()
		defer f.Unlock()
		f.onAdd, f.onRemove = a, r
	}
	set(add, remove)
	defer set(nil, nil)
	do()
}

// called sets onCall for as long as do runs.
func (f *fakeNetwork) called(hook func(context.Context, NetworkPod) error, do func()) {
	set := func(h func(context.Context, NetworkPod) error) {
		f.Lock()
		defer f.Unlock()
		f.onCall = h
	}
	set(hook)
	defer set(nil)
	do()
}

func (f *fakeNetwork) Add(ctx context.Context, p NetworkPod, netns NetNS) (*Attachment, error) {
	if err := f.ask(&f.onCall, ctx, p); err != nil {
		return nil, err
	}
	ns, err := netns(ctx)
	if err != nil {
		return nil, err
	}
	if err := f.ask(&f.onAdd, ctx, p); err != nil {
		return nil, err
	}
	var given, pinned unix.Stat_t
	if err := errors.Join(unix.Fstat(int(ns.Fd()), &given), unix.Stat(p.NetNS, &pinned)); err != nil {
		return nil, err
	}
	if given.Ino != pinned.Ino {
		return nil, fmt.Errorf("namespace %d is to be added, and %d is pinned", given.Ino, pinned.Ino)
	}
	f.Lock()
	defer f.Unlock()
	if f.has[p.ID] != nil {
		return nil, errors.New("added twice")
	}
	f.given++
	a := &Attachment{IPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(f.given)})}, HostLink: "fake"}
	f.has[p.ID] = a
	return a, nil
}

// Leave notes whether the namespace is there still.
func (f *fakeNetwork) Leave(_ context.Context, p NetworkPod) error {
	f.Lock()
	defer f.Unlock()
	_, err := os.Lstat(p.NetNS)
	f.left[p.ID] = f.left[p.ID] || err == nil
	return nil
}

// Remove wants the namespace gone: nobody may answer to an address that another pod can have.
func (f *fakeNetwork) Remove(ctx context.Context, p NetworkPod) error {
	if err := f.ask(&f.onRemove, ctx, p); err != nil {
		return err
	}
	if _, err := os.Lstat(p.NetNS); err == nil {
		return errors.New("the namespace is still pinned")
	}
	f.Lock()
	defer f.Unlock()
	delete(f.has, p.ID)
	return nil
}

func (f *fakeNetwork) Recover(_ context.Context, pods []NetworkPod) error {
	f.Lock()
	defer f.Unlock()
	f.recovered = pods
	return nil
}

func (f *fakeNetwork) Check(context.Context) error { return nil }

func (f *fakeNetwork) SetPodCIDRs([]netip.Prefix) error { return nil }

func (f *fakeNetwork) Describe() any { return nil }

func (f *fakeNetwork) traces() []string {
	f.Lock()
	defer f.Unlock()
	var lines []string
	for id, a := range f.has {
		lines = append(lines, fmt.Sprintf("network of pod %s: %s", id, a.IPs))
	}
	return lines
}

// again ends the Runtime as podlet's end would, and opens the next.
func (r *rig) again(t *testing.T) {
	t.Helper()
	must(t, r.Close())
	next, err := Open(r.cfg)
	must(t, err)
	r.Runtime = next
}

var errFake = errors.New("the network is down")

func fails(context.Context, NetworkPod) error { return errFake }

// TestFaultsOfTheNetwork breaks Add and Remove, and what happens before, between and after them.
func TestFaultsOfTheNetwork(t *testing.T) {
	r := newRig(t)
	for _, kind := range []struct {
		name   string
		change []func(*spec.Sandbox)
	}{{"plain", nil}, {"shared PID", []func(*spec.Sandbox){sharedPID}}, {"user namespace", []func(*spec.Sandbox){withUserNS}}} {
		t.Run(kind.name, func(t *testing.T) {
			r.needs(t, kind.change)
			fault := func(name string, add, remove func(context.Context, NetworkPod) error, do func(t *testing.T)) {
				t.Run(name, func(t *testing.T) {
					before := r.settled()
					r.net.told(add, remove, func() { do(t) })
					r.noTrace(t, before)
				})
			}
			sandbox := func() *spec.Sandbox { return r.sandbox("net", kind.change...) }
			fault("Add fails", fails, nil, func(t *testing.T) {
				if _, err := r.RunPod(limited(t), sandbox()); !errors.Is(err, errFake) {
					t.Errorf("RunPod: %v", err)
				}
			})
			fault("Add fails before there is a namespace", nil, nil, func(t *testing.T) {
				r.net.called(fails, func() {
					if _, err := r.RunPod(limited(t), sandbox()); !errors.Is(err, errFake) {
						t.Errorf("RunPod: %v", err)
					}
				})
			})
			fault("Add panics", func(context.Context, NetworkPod) error { panic("a plugin's answer") }, nil, func(t *testing.T) {
				if _, err := r.RunPod(limited(t), sandbox()); !errors.Is(err, ErrPanic) || !strings.Contains(err.Error(), "a plugin's answer") {
					t.Errorf("RunPod: %v", err)
				}
			})
			fault("pause is cloned after Add has failed", nil, nil, func(t *testing.T) {
				// The clone is asked for with a context that has ended: what it made is known all the same, and taken back.
				s, failed := sandbox(), make(chan struct{})
				onPlay(t, "pod test/net", func() { <-failed })
				r.net.called(func(ctx context.Context, _ NetworkPod) error {
					context.AfterFunc(ctx, func() { close(failed) })
					return errFake
				}, func() {
					if _, err := r.RunPod(limited(t), s); !errors.Is(err, errFake) {
						t.Errorf("RunPod: %v", err)
					}
				})
			})
			ctx, cancel := context.WithCancel(limited(t))
			waits := func(ctx context.Context, _ NetworkPod) error {
				cancel()
				<-ctx.Done()
				return ctx.Err()
			}
			fault("Add is cancelled", waits, nil, func(t *testing.T) {
				if _, err := r.RunPod(ctx, sandbox()); !errors.Is(err, context.Canceled) {
					t.Errorf("RunPod: %v", err)
				}
			})
			fault("pause dies before Add", func(_ context.Context, p NetworkPod) error { return r.killPauseOf(p.ID) }, nil, func(t *testing.T) {
				// Whoever is told of the pod is told of its end, too.
				id, err := r.RunPod(limited(t), sandbox())
				if err == nil {
					must(t, r.RemovePod(limited(t), id))
				}
			})
			fault("no record after Add", func(_ context.Context, p NetworkPod) error { return r.hideRecord(p.ID) }, func(_ context.Context, p NetworkPod) error {
				return r.showRecord(p.ID)
			}, func(t *testing.T) {
				if _, err := r.RunPod(limited(t), sandbox()); err == nil {
					t.Error("RunPod: no error without a record")
				}
			})
			fault("Remove fails in StopPod", nil, fails, func(t *testing.T) {
				id := r.run(t, sandbox())
				if err := r.StopPod(limited(t), id); !errors.Is(err, errFake) {
					t.Errorf("StopPod: %v", err)
				}
				if s, err := r.PodStatus(limited(t), id); err != nil || s.State != PodNotReady || s.Network == nil {
					t.Errorf("after a StopPod that failed: %+v, %v", s, err)
				}
				r.net.told(nil, nil, func() {
					must(t, r.StopPod(limited(t), id))
					if s, err := r.PodStatus(limited(t), id); err != nil || s.Network != nil {
						t.Errorf("after StopPod: %+v, %v", s, err)
					}
					must(t, r.StopPod(limited(t), id))
					must(t, r.RemovePod(limited(t), id))
				})
			})
		})
	}
}

// killPauseOf kills the pause of a pod, which need not have come to its title yet.
func (r *rig) killPauseOf(id string) error {
	pidfd, err := awaitPause(id)
	if err != nil {
		return err
	}
	defer pidfd.Close()
	return errors.Join(pause.Signal(pidfd, unix.SIGKILL), pause.Exited(context.Background(), pidfd))
}

// awaitPause gives the pidfd of a pod's pause once that has its title.
func awaitPause(id string) (*os.File, error) {
	for deadline := time.Now().Add(settleTime); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		found, err := findPauses(nil)
		if err != nil {
			return nil, err
		}
		pidfd := found.take(id)
		found.close()
		if pidfd != nil {
			return pidfd, nil
		}
	}
	return nil, fmt.Errorf("pod %s has no pause", id)
}

func (r *rig) recordDir(id string) string { return filepath.Join(r.dir, "root", "state", "pods", id) }

// hideRecord puts a file in the place of the record's directory, showRecord the directory back.
func (r *rig) hideRecord(id string) error {
	return errors.Join(os.Rename(r.recordDir(id), r.recordDir(id)+"-away"), os.WriteFile(r.recordDir(id), nil, 0o600))
}

func (r *rig) showRecord(id string) error {
	if _, err := os.Stat(r.recordDir(id) + "-away"); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Join(os.Remove(r.recordDir(id)), os.Rename(r.recordDir(id)+"-away", r.recordDir(id)))
}

// TestNetworkAfterARestart: the next podlet tells the network which pods there are, shows their addresses, and takes back what it owes.
func TestNetworkAfterARestart(t *testing.T) {
	r := newRig(t)
	before := r.settled()
	ready, stopped, hosts := r.run(t, r.sandbox("ready")), r.run(t, r.sandbox("stopped")), r.run(t, r.sandbox("host", hostNet))
	r.net.told(nil, fails, func() {
		if err := r.StopPod(limited(t), stopped); !errors.Is(err, errFake) {
			t.Errorf("StopPod: %v", err)
		}
		// One whose creation fails, and that can't be taken back either.
		r.net.told(func(ctx context.Context, p NetworkPod) error { return r.killPauseOf(p.ID) }, fails, func() {
			r.RunPod(limited(t), r.sandbox("half"))
		})
	})
	r.again(t)
	var told []string
	for _, p := range r.net.recovered {
		told = append(told, p.ID)
	}
	if !slices.Contains(told, ready) || !slices.Contains(told, stopped) || slices.Contains(told, hosts) {
		t.Errorf("the network was told of %q, not of %q and %q alone", told, ready, stopped)
	}
	s, err := r.PodStatus(limited(t), ready)
	must(t, err)
	if s.Network == nil || !strings.HasPrefix(s.Network.IPs[0].String(), "192.0.2.") {
		t.Errorf("after a restart: %+v", s.Network)
	}
	for _, p := range r.Pods(limited(t)) {
		must(t, r.RemovePod(limited(t), p.ID))
	}
	r.warm(t)
	// The nursery is another process now, and podlet has opened its own files anew.
	numbered := func(lines []string) []string {
		return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.HasPrefix(l, "network") && !strings.HasPrefix(l, "file ") })
	}
	want, after := numbered(before), []string(nil)
	for deadline := time.Now().Add(settleTime); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if after = numbered(r.traces()); slices.Equal(want, after) {
			return
		}
	}
	t.Errorf("left behind:\n%s", difference(want, after))
}

// TestNetworkIsLeftFirst: what a network has to take back inside the namespace it can.
func TestNetworkIsLeftFirst(t *testing.T) {
	r := newRig(t)
	stopped, removed, killed := r.run(t, r.sandbox("stopped")), r.run(t, r.sandbox("removed")), r.run(t, r.sandbox("killed"))
	netns := func(id string) string {
		s, err := r.PodStatus(limited(t), id)
		must(t, err)
		return r.NetNSPath(s)
	}
	if got := netns(stopped); got != r.netns.Path(stopped) {
		t.Errorf("a pod that runs has its namespace at %q", got)
	}
	must(t, r.StopPod(limited(t), stopped))
	if got := netns(stopped); got != "" {
		t.Errorf("a stopped pod has a namespace at %q", got)
	}
	r.removePod(t, removed)
	must(t, r.killPauseOf(killed))
	must(t, r.StopPod(limited(t), killed))
	r.net.Lock()
	defer r.net.Unlock()
	for _, id := range []string{stopped, removed, killed} {
		if !r.net.left[id] {
			t.Errorf("pod %s left without its namespace, or never", id)
		}
	}
}

// TestHostPortWithoutNetwork: what can't be had is refused, not left out.
func TestHostPortWithoutNetwork(t *testing.T) {
	r := newRig(t)
	r.Runtime.cfg.Network = nil
	defer func() { r.Runtime.cfg.Network = r.net }()
	_, err := r.RunPod(limited(t), r.sandbox("ports", func(s *spec.Sandbox) { s.Ports = []spec.PortMapping{{Protocol: "tcp", HostPort: 80, PodPort: 80}} }))
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "host port 80") {
		t.Errorf("RunPod: %v", err)
	}
	s, err := r.PodStatus(limited(t), r.run(t, r.sandbox("lonely")))
	must(t, err)
	if s.Network != nil {
		t.Errorf("a pod without a network has %+v", s.Network)
	}
}

// TestNetworkIsTakenAway: podlet serves without a network that gave a pod its addresses.
func TestNetworkIsTakenAway(t *testing.T) {
	r := newRig(t)
	id := r.run(t, r.sandbox("left"))
	r.Runtime.cfg.Network = nil
	must(t, r.StopPod(limited(t), id))
	r.Runtime.cfg.Network = r.net
	if s, err := r.PodStatus(limited(t), id); err != nil || s.Network != nil {
		t.Errorf("after StopPod: %+v, %v", s, err)
	}
	r.removePod(t, id)
	if left := r.net.traces(); len(left) > 0 {
		t.Errorf("the network has %q", left)
	}
}

// TestRecordsOfTheNetwork: a record from before there was a network reads as one of a pod without, and what a pod has is the same after a restart.
func TestRecordsOfTheNetwork(t *testing.T) {
	const old = `{"Spec":{"Name":"n","Namespace":"ns","UID":"u","Hostname":"h"},"State":"ready","Created":"2026-01-02T03:04:05Z"}`
	var rec podRecord
	must(t, json.Unmarshal([]byte(old), &rec))
	if rec.Network != nil || rec.Spec.Ports != nil || rec.State != PodReady {
		t.Errorf("%+v", rec)
	}
	text, err := json.Marshal(&rec)
	must(t, err)
	if strings.Contains(string(text), `"Network"`) || strings.Contains(string(text), "Ports") {
		t.Errorf("%s says more than it knows", text)
	}
	rec.Spec.Ports = []spec.PortMapping{{Protocol: "tcp", HostPort: 1, PodPort: 2}, {Protocol: "udp", HostIP: netip.MustParseAddr("fd00::1"), HostPort: 3, PodPort: 4}}
	rec.Network = &Attachment{IPs: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}, MAC: "0a:58:0a:00:00:02", HostLink: "pod0"}
	text, err = json.Marshal(&rec)
	must(t, err)
	var read podRecord
	must(t, json.Unmarshal(text, &read))
	if !slices.Equal(read.Spec.Ports, rec.Spec.Ports) || !reflect.DeepEqual(read.Network, rec.Network) {
		t.Errorf("written %+v, read %+v", rec.Network, read.Network)
	}
}
