package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"podlet/pod/spec"
	"podlet/pod/tape"
)

// TestFaultAtEveryStep breaks, for each kind of tape, one step after the other, and wants of each break that the error names the step,
// that nothing is left behind, and that what the tape was for can still be had.
func TestFaultAtEveryStep(t *testing.T) {
	r := newRig(t)
	t.Run("nursery", func(t *testing.T) { faultsOfNursery(t, r) }) // while there are no pods that a nursery's end would orphan
	t.Run("container", func(t *testing.T) { faultsOfContainers(t, r) })
	t.Run("exec", func(t *testing.T) { faultsOfExecs(t, r) })
	t.Run("pod", func(t *testing.T) { faultsOfPods(t, r) })
}

// action has one tape played, for work number k: its name, and what plays it.
type action struct {
	tape func(k int) string
	act  func(k int) error
}

// sweep breaks each step of the tape that the action has played, width of them at a time.
func (r *rig) sweep(t *testing.T, width int, a action) {
	t.Helper()
	s := sabotage(t)
	s.watched = a.tape(0)
	if err := a.act(0); err != nil {
		t.Fatalf("with no step broken: %v", err)
	}
	if s.seen == nil {
		t.Fatalf("no tape is called %q", s.watched)
	}
	before := r.settled()
	started, reached, steps := time.Now(), 0, s.seen.Len()
	for k := 0; k < steps; {
		n := min(width, steps-k)
		failures := r.breakSteps(s, a, k, n)
		next := k + n
		for i, err := range failures {
			step := s.seen.Step(k + i)
			if err == nil {
				next = max(next, s.unbroken(t, k+i, step)+1)
				continue
			}
			reached++
			namesStep(t, err, step)
		}
		r.noTrace(t, before)
		if t.Failed() {
			t.Fatalf("at the steps %d to %d of %q; the first is %s  # %s", k, k+n-1, s.watched, s.seen.Step(k).Text, s.seen.Step(k).Why)
		}
		k = next
		if testing.Short() {
			k += skippedInShort * width
		}
	}
	s.relent()
	if err := a.act(0); err != nil {
		t.Errorf("after all faults, with no step broken: %v", err)
	}
	r.noTrace(t, before)
	if testing.Short() {
		t.Logf("-short: only one in %d groups of steps was broken; the steps of a tape are the same on every kernel, and an emulator is slow", skippedInShort+1)
	}
	t.Logf("%d steps, %d of them came to be played and failed; %v", steps, reached, time.Since(started).Round(time.Millisecond))
}

// skippedInShort is how many groups of steps a short run passes over between two that it breaks.
const skippedInShort = 7

// breakSteps has n tapes played at once, the first with step k broken, the second with step k+1 …
func (r *rig) breakSteps(s *saboteur, a action, k, n int) []error {
	failures := make([]error, n)
	var work sync.WaitGroup
	for i := range n {
		s.order(a.tape(i), k+i)
		work.Go(func() { failures[i] = a.act(i) })
	}
	work.Wait()
	return failures
}

// alone is an action whose tapes all have one name.
func alone(name string, act func() error) action {
	return action{func(int) string { return name }, func(int) error { return act() }}
}

// unbroken says up to which step the tape was not played, since the break of step k did nothing. That is right for the body of an Unless, for
// the tries behind one that worked, and for a step that old kernels don't have.
func (s *saboteur) unbroken(t *testing.T, k int, step tape.Step) (last int) {
	t.Helper()
	if harmless[step.Why] {
		return k
	}
	if end := s.bodyEnd(k); end >= 0 {
		return end
	}
	if s.isTry(k) {
		return k
	}
	if s.ignoresENOSYS(k) && optional[step.Why] {
		return k
	}
	t.Errorf("step %d was broken and nobody noticed: %s  # %s", k, step.Text, step.Why)
	return k
}

// optional are the whys of the steps that a kernel may lack the call for.
var optional = map[string]bool{
	"a session keyring of its own":   true, // CONFIG_KEYS
	"leave podlet's session keyring": true,
	"default memory policy":          true, // CONFIG_NUMA
}

// harmless are the whys of steps that podlet need not wait for: the helper of a user namespace has done its work when podlet holds the
// namespaces, which may be before or after such a step.
var harmless = map[string]bool{
	"hide the helper from containers": true,
	"wait until pause has joined":     true,
	"let go of the gate":              true,
}

// namesStep wants the failed step in the error, in words and as a value.
func namesStep(t *testing.T, err error, step tape.Step) {
	t.Helper()
	var e *tape.StepError
	if !errors.As(err, &e) {
		t.Errorf("step %d (%s): the error is no StepError: %v", step.Index, step.Why, err)
		return
	}
	if e.Index != step.Index || e.Errno != unix.ENOSYS {
		t.Errorf("step %d (%s): the error blames step %d, %v", step.Index, step.Text, e.Index, e.Errno)
	}
	text := err.Error()
	why := step.Why
	if why == "" {
		why = step.Text
	}
	if !strings.Contains(text, why) || !strings.Contains(text, "ENOSYS") {
		t.Errorf("step %d: %q does not say %q and ENOSYS", step.Index, text, why)
	}
}

// timed gives f as much time as any verb may take.
func timed(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return f(ctx)
}

// startAndRemove creates, starts and removes a container; the error is StartContainer's. A failed one must read as the CRI wants it.
func (r *rig) startAndRemove(t *testing.T, pod string, c *spec.Container) (failure error) {
	t.Helper()
	err := timed(func(ctx context.Context) error {
		id, err := r.CreateContainer(ctx, pod, c)
		if err != nil {
			return err
		}
		if failure = r.StartContainer(ctx, id); failure != nil {
			r.cannotRun(t, id, failure)
		}
		return r.RemoveContainer(ctx, id)
	})
	if err != nil {
		t.Errorf("container %s: %v", c.Name, err)
	}
	return failure
}

// cannotRun wants the container exited as one whose start failed with failure.
func (r *rig) cannotRun(t *testing.T, id string, failure error) {
	t.Helper()
	s, err := r.ContainerStatus(context.Background(), id)
	if err != nil {
		t.Error(err)
		return
	}
	if s.State != Exited || s.ExitCode != 128 || s.Reason != "ContainerCannotRun" {
		t.Errorf("after a failed start it reads %s, %d, %s", s.State, s.ExitCode, s.Reason)
	}
	if s.Message == "" || !strings.Contains(failure.Error(), s.Message) {
		t.Errorf("message %q, but StartContainer said %q", s.Message, failure)
	}
	if s.Finished.IsZero() || s.Finished.Before(s.Created) {
		t.Errorf("created %v, finished %v", s.Created, s.Finished)
	}
}

func faultsOfContainers(t *testing.T, r *rig) {
	plain := r.run(t, r.sandbox("plain"))
	defer r.removePod(t, plain)
	app := r.startIn(t, plain, r.container("app"))
	r.chargeLogger(t, plain)
	dir, file := filepath.Join(r.dir, "volume"), filepath.Join(r.dir, "file")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(file, []byte("x"), 0o644))
	volumes := func(c *spec.Container) {
		c.Mounts = []spec.Mount{{Source: dir, Target: "/some/deep/dir"}, {Source: file, Target: "/some/other/file"}, {Source: file, Target: "/proc/cpuinfo"}}
	}
	for _, kind := range []struct {
		name   string
		pod    []func(*spec.Sandbox) // none: plain
		change []func(*spec.Container)
	}{
		{"plain", nil, nil},
		{"scratch", nil, []func(*spec.Container){scratchProbe, volumes, readOnlyRoot, ambient, everyPath}},
		{"userns", []func(*spec.Sandbox){withUserNS}, nil},
		{"privileged", nil, []func(*spec.Container){privileged}},
		{"tty", nil, []func(*spec.Container){withTTY}},
		{"target", nil, []func(*spec.Container){target(app)}},
		{"podpid", []func(*spec.Sandbox){sharedPID}, []func(*spec.Container){inPodPID}},
		{"host", []func(*spec.Sandbox){hostNet, hostIPC, hostPID}, []func(*spec.Container){inHostPID}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			r.needs(t, kind.pod)
			pod, name := plain, "plain"
			if kind.pod != nil {
				name = kind.name
				pod = r.run(t, r.sandbox(name, kind.pod...))
			}
			number := func(k int) string { return fmt.Sprint(kind.name, k) }
			r.sweep(t, 16, action{
				tape: func(k int) string { return "container test/" + name + "/" + number(k) },
				act:  func(k int) error { return r.startAndRemove(t, pod, r.container(number(k), kind.change...)) },
			})
			if kind.pod != nil {
				r.removePod(t, pod)
			}
		})
	}
}

func faultsOfExecs(t *testing.T, r *rig) {
	for _, kind := range []struct {
		name   string
		change []func(*spec.Sandbox)
	}{
		{"plain", nil},
		{"userns", []func(*spec.Sandbox){withUserNS}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			r.needs(t, kind.change)
			pod := r.run(t, r.sandbox("exec-"+kind.name, kind.change...))
			app := r.startIn(t, pod, r.container("app"))
			r.sweep(t, 1, alone("exec in test/exec-"+kind.name+"/app", func() error {
				return timed(func(ctx context.Context) error {
					result, err := r.ExecSync(ctx, app, []string{"true"}, 0)
					if err == nil && result.ExitCode != 0 {
						err = fmt.Errorf("true ended with %d: %s", result.ExitCode, result.Stderr)
					}
					return err
				})
			}))
			r.removePod(t, pod)
		})
	}
}

// faultsOfPods breaks the tapes that bring up a pod.
func faultsOfPods(t *testing.T, r *rig) {
	for _, kind := range []struct {
		name, tape string
		change     []func(*spec.Sandbox)
	}{
		{"plain", "pod test/up", nil},
		{"host", "pod test/up", []func(*spec.Sandbox){hostNet, hostIPC, hostPID}},
		{"userns", "pod test/up", []func(*spec.Sandbox){withUserNS}},
		{"userns helper", "user namespace", []func(*spec.Sandbox){withUserNS}},
		{"init", "init of pod test/up", []func(*spec.Sandbox){sharedPID}},
		{"init userns", "init of pod test/up", []func(*spec.Sandbox){sharedPID, withUserNS}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			r.needs(t, kind.change)
			r.sweep(t, 1, alone(kind.tape, func() error {
				return timed(func(ctx context.Context) error {
					id, err := r.RunPod(ctx, r.sandbox("up", kind.change...))
					if err != nil {
						return err
					}
					return r.RemovePod(ctx, id)
				})
			}))
		})
	}
}

// faultsOfNursery breaks the tape by which a nursery moves into its own root.
func faultsOfNursery(t *testing.T, r *rig) {
	must(t, r.nursery.close())
	r.sweep(t, 1, alone("nursery", func() error {
		return timed(func(ctx context.Context) error {
			if _, err := r.getNursery(ctx); err != nil {
				return err
			}
			return r.nursery.close()
		})
	}))
}
