package registry

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/http/httpproxy"

	"podlet/internal/image"
)

// Config says how images are pulled. Images alone must be given.
type Config struct {
	Images *image.Store
	// CertsDirs are directories as certs.d; the first that is there counts, for all hosts. nil: DefaultCertsDirs.
	CertsDirs []string
	// Parallel is how many layers of one image are fetched and unpacked at a time; 0: 4.
	Parallel int
	// A pull that gets less than MinRate bytes a second over a whole Window ends with ErrStalled. 0: 1 KiB/s over 5 min.
	MinRate int64
	Window  time.Duration
	// Verifiers is a directory of programs that must accept what a name leads to; "": there are none. See verify.
	Verifiers string
	// Agent is the User-Agent; "": "podlet".
	Agent string
	Log   *slog.Logger
}

// Puller pulls images. Safe for concurrent use.
type Puller struct {
	Config
	classOf func(netip.Addr) addressClass
	proxy   func(*url.URL) (*url.URL, error) // nil: none
	sleep   func(context.Context, time.Duration) error

	verifierTimeout time.Duration

	stop    context.CancelFunc
	life    context.Context
	workers sync.WaitGroup

	mu struct {
		sync.Mutex
		flights map[flightKey]*flight
	}
}

// flightKey: who comes with other credentials doesn't join, for it would get what they may not allow.
type flightKey struct {
	name        string
	credentials Credentials
}

// flight is a pull under way, in a goroutine of its own.
type flight struct {
	done    chan struct{}
	img     image.Image // set before done is closed
	err     error
	cancel  context.CancelCauseFunc
	waiters int // guarded by Puller.mu

	progress progress
}

// New makes a Puller. Close ends it. Proxies are those that the environment names now (HTTP_PROXY, HTTPS_PROXY, NO_PROXY); this machine itself is asked without.
func New(c Config) *Puller {
	if c.CertsDirs == nil {
		c.CertsDirs = DefaultCertsDirs
	}
	if c.MinRate == 0 {
		c.MinRate = 1 << 10
	}
	if c.Window == 0 {
		c.Window = 5 * time.Minute
	}
	if c.Agent == "" {
		c.Agent = "podlet"
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	p := &Puller{Config: c, classOf: classOf, proxy: httpproxy.FromEnvironment().ProxyFunc(), sleep: sleep, verifierTimeout: verifierTimeout}
	p.life, p.stop = context.WithCancel(context.Background())
	p.mu.flights = map[flightKey]*flight{}
	return p
}

// Close ends the pulls under way and waits for them.
func (p *Puller) Close() {
	p.mu.Lock() // a pull that is being joined counts among the workers first
	p.stop()
	p.mu.Unlock()
	p.workers.Wait()
}

// errAlone ends a flight that nobody waits for any more.
var errAlone = fmt.Errorf("nobody waits for this pull any more: %w", context.Canceled)

// Pull pulls the image that ref names ("busybox", "host/repo:tag", "host/repo@sha256:…") and gives it. The registry is asked even where the store has the image:
// a tag may have moved, and the credentials may not do. Calls with the same name and credentials that come while one is under way share it; a caller whose ctx
// ends leaves it, and the last one ends it. Errors: see the variables of this package, and image.ErrInvalid.
func (p *Puller) Pull(ctx context.Context, ref string, c Credentials) (image.Image, error) {
	return p.PullWatched(ctx, ref, c, time.Hour, func(Progress) {})
}

// PullWatched is Pull, and calls report about once in every, from the calling goroutine, and at the end of a pull that succeeds. A report that takes its time
// delays nothing but the return.
func (p *Puller) PullWatched(ctx context.Context, ref string, c Credentials, every time.Duration, report func(Progress)) (image.Image, error) {
	name, err := image.NormalizeName(ref)
	if err != nil {
		return image.Image{}, err
	}
	f, err := p.join(flightKey{name, c})
	if err != nil {
		return image.Image{}, err
	}
	defer p.leave(f)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-f.done:
			if f.err == nil {
				report(f.progress.now())
			}
			return f.img, f.err
		case <-ctx.Done():
			return image.Image{}, fmt.Errorf("pull %s: %w", name, context.Cause(ctx))
		case <-tick.C:
			report(f.progress.now())
		}
	}
}

// join counts the caller into the flight, which it begins if there is none.
func (p *Puller) join(key flightKey) (*flight, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil {
		return nil, fmt.Errorf("pull %s: podlet is stopping: %w", key.name, context.Canceled)
	}
	if f := p.mu.flights[key]; f != nil {
		f.waiters++
		return f, nil
	}
	ctx, cancel := context.WithCancelCause(p.life)
	f := &flight{done: make(chan struct{}), cancel: cancel, waiters: 1}
	p.mu.flights[key] = f
	p.background(&p.workers, "pull "+key.name, func() {
		defer cancel(nil)
		img, err := p.fly(ctx, f, key)
		p.mu.Lock()
		f.img, f.err = img, err
		p.forget(key, f)
		p.mu.Unlock()
		close(f.done)
	})
	return f, nil
}

// background runs f in a goroutine that wg counts. A panic in it is logged and ends f alone.
func (p *Puller) background(wg *sync.WaitGroup, what string, f func()) {
	wg.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				p.Log.Error("panic", "task", what, "panic", v, "stack", string(debug.Stack()))
			}
		}()
		f()
	})
}

// forget takes the flight off the table, with p.mu held. A later call begins anew.
func (p *Puller) forget(key flightKey, f *flight) {
	if p.mu.flights[key] == f {
		delete(p.mu.flights, key)
	}
}

func (p *Puller) leave(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.waiters--
	if f.waiters > 0 {
		return
	}
	for key, other := range p.mu.flights {
		if other == f {
			// Who comes from now on must not join what is being ended.
			delete(p.mu.flights, key)
		}
	}
	f.cancel(errAlone)
}

// fly is one pull from its beginning to its end.
func (p *Puller) fly(ctx context.Context, f *flight, key flightKey) (img image.Image, err error) {
	var hidden secrets
	hidden.add(key.credentials.secrets()...)
	defer func() {
		if v := recover(); v != nil {
			p.Log.Error("panic while pulling", "image", key.name, "panic", hidden.clean(fmt.Sprint(v)), "stack", string(debug.Stack()))
			err = fmt.Errorf("pull %s: %w: %v", key.name, image.ErrPanic, v)
		}
		if err != nil {
			err = &failure{kind: err, text: hidden.clean(err.Error())}
		}
	}()
	began := time.Now()
	r, err := p.remote(key, &f.progress, &hidden)
	if err != nil {
		return image.Image{}, fmt.Errorf("pull %s: %w", key.name, err)
	}
	defer func() {
		for _, c := range r.clients {
			c.gate.close()
		}
	}()
	watched, end := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	p.background(&watcher, "watch the pull of "+key.name, func() { r.watch.run(watched, f.cancel, p.Window, p.MinRate) })
	defer watcher.Wait()
	defer end()
	img, err = p.Images.Pull(ctx, key.name, r, image.PullOptions{Parallel: p.Parallel, Progress: r.entries})
	if err != nil {
		return image.Image{}, err
	}
	p.Log.Info("image pulled", "image", key.name, "id", img.ID, "bytes", r.watch.bytes.Load(), "took", time.Since(began))
	return img, nil
}

// remote makes the clients for a name, from what the disk says now.
func (p *Puller) remote(key flightKey, progress *progress, hidden *secrets) (*remote, error) {
	l, err := p.plan(key.name, key.credentials)
	if err != nil {
		return nil, err
	}
	for _, w := range l.warnings {
		p.Log.Warn("hosts of a registry", "image", key.name, "warning", w)
	}
	r := &remote{
		name: key.name, registry: l.registry, repository: l.repository, tag: l.tag, watch: &watch{}, progress: progress,
		verifiers: p.Verifiers, verifierTimeout: p.verifierTimeout, secrets: hidden, log: p.Log.With("image", key.name),
	}
	r.mu.sent, r.mu.wrong = map[image.Digest]*client{}, map[image.Digest][]*client{}
	for i, h := range l.hosts {
		for _, values := range h.Header {
			hidden.add(values...)
		}
		if h.Proxy != nil {
			password, _ := h.Proxy.User.Password()
			hidden.add(password)
		}
		c := newClient(h.Host, newGate(h.Host, hidden, p.classOf, p.proxyOf(h.Host)), h.credential, p.Agent, hidden)
		c.last = i == len(l.hosts)-1
		c.sleep = p.sleep
		r.clients = append(r.clients, c)
	}
	return r, nil
}

// proxyOf gives what says which proxy leads to a URL for the host; nil: none ever.
func (p *Puller) proxyOf(h *Host) func(*url.URL) (*url.URL, error) {
	if h.Proxy != nil {
		return func(*url.URL) (*url.URL, error) { return h.Proxy, nil }
	}
	return p.proxy
}

// entries hears from the image store how far a layer is.
func (r *remote) entries(l image.LayerProgress) {
	r.watch.progress.Add(r.progress.tell(l) * entryBytes)
}
