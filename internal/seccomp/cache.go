package seccomp

import "sync"

// cached is what a filter of the default profile depends on.
type cached struct {
	machine Machine
	caps    uint64 // only those that the profile asks for
}

// cache keeps the filters of the default profile.
type cache struct {
	mu struct {
		sync.Mutex
		filters map[cached]*Filter
	}
}

// maxCached bounds the cache. A node's pods use a handful of sets of capabilities; one that uses more makes some filters again.
const maxCached = 64

var defaults cache

func (c *cache) get(of cached) (*Filter, error) {
	c.mu.Lock()
	f, ok := c.mu.filters[of]
	c.mu.Unlock()
	if ok {
		return f, nil
	}
	// Two that come at once both make it, and either is as good.
	p, err := defaultProfile(of.caps, of.machine)
	if err != nil {
		return nil, err
	}
	f, err = Compile(p, of.machine)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.filters == nil || len(c.mu.filters) >= maxCached {
		c.mu.filters = map[cached]*Filter{}
	}
	c.mu.filters[of] = f
	return f, nil
}
