package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/types/create"
)

// chain is one verb for all plugins of a configuration.
type chain struct {
	n     *Network
	verb  string
	conf  *conf
	a     *attachment // nil for STATUS and GC
	netns string
	limit time.Duration
	began time.Time
	// prev is what the plugin before, or the ADD before, gave; nil for none.
	prev json.RawMessage
	// more are further keys of each plugin's input.
	more map[string]any
	// started says that a plugin's process was.
	started bool
}

// within runs do with the chain's deadline and counts from now.
func (c *chain) within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.limit, ErrTimeout)
	defer cancel()
	c.began = time.Now()
	return do(ctx)
}

// add runs the plugins in order, each with what the one before it gave, and gives what the last one did.
func (c *chain) add(ctx context.Context) (json.RawMessage, error) {
	for _, p := range c.conf.list.Plugins {
		out, err := c.run(ctx, p)
		if err != nil {
			return nil, err
		}
		if c.prev, err = c.result(out); err != nil {
			return nil, c.call(p).failed(fmt.Sprintf("its result can't be used: %v: %.300q", err, out), nil)
		}
	}
	return c.prev, nil
}

// each runs the plugins in order and stops at the first error.
func (c *chain) each(ctx context.Context) error {
	for _, p := range c.conf.list.Plugins {
		if _, err := c.run(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// back runs the plugins whose DEL is outstanding in the opposite order and stops at the first error: those before it may need what it has not undone.
func (c *chain) back(ctx context.Context) error {
	for _, i := range c.outstanding() {
		if err := c.del(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// backAll runs the plugins whose DEL is outstanding in the opposite order whatever the others said, each with its share of the time. That is more than
// the spec has for a DEL, which is to halt: but where one plugin is gone for good, what the others have given is to be free again all the same.
func (c *chain) backAll(ctx context.Context) error {
	var errs []error
	list := c.outstanding()
	for _, i := range list {
		own, cancel := context.WithTimeoutCause(ctx, c.limit/time.Duration(len(list)), ErrTimeout)
		errs = append(errs, c.del(own, i))
		cancel()
	}
	return errors.Join(errs...)
}

// outstanding are the plugins whose DEL has not succeeded, by their place, in the opposite order.
func (c *chain) outstanding() []int {
	var list []int
	for i := range slices.Backward(c.conf.list.Plugins) {
		if !slices.Contains(c.a.Deleted, i) {
			list = append(list, i)
		}
	}
	return list
}

// del runs one plugin, and notes that it succeeded. Once one before it in the chain has taken back what it gave, the addresses of ADD's result may be another
// pod's: then it isn't given that, as it would not be by a runtime that had lost it, lest it take away by address what is the other's.
func (c *chain) del(ctx context.Context, i int) error {
	prev := c.prev
	defer func() { c.prev = prev }()
	if slices.ContainsFunc(c.a.Deleted, func(done int) bool { return done < i }) {
		c.prev = nil
	}
	if _, err := c.run(ctx, c.conf.list.Plugins[i]); err != nil {
		return err
	}
	c.a.Deleted = append(c.a.Deleted, i)
	return nil
}

// all runs every plugin whatever the others said.
func (c *chain) all(ctx context.Context) error {
	var errs []error
	for _, p := range c.conf.list.Plugins {
		_, err := c.run(ctx, p)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *chain) call(p *libcni.PluginConfig) *call {
	return &call{verb: c.verb, plugin: p.Network.Type, file: c.conf.file, env: c.n.environment(c.verb, c.a, c.netns), began: c.began, limit: c.limit}
}

func (c *chain) run(ctx context.Context, p *libcni.PluginConfig) ([]byte, error) {
	call := c.call(p)
	if ctx.Err() != nil {
		return nil, call.failed("it was not begun", context.Cause(ctx))
	}
	input, err := c.input(p)
	if err != nil {
		return nil, call.failed("", fmt.Errorf("make its input: %w", err))
	}
	call.input = input
	out, err := c.n.run(ctx, call)
	c.started = c.started || call.started
	return out, err
}

// input is a plugin's configuration with what the spec says is to be in it (section 3).
func (c *chain) input(p *libcni.PluginConfig) ([]byte, error) {
	values := map[string]any{"name": c.conf.list.Name, "cniVersion": c.conf.list.CNIVersion}
	for k, v := range c.more {
		values[k] = v
	}
	if c.prev != nil {
		values["prevResult"] = c.prev
	}
	if c.a != nil {
		asked := map[string]json.RawMessage{}
		for capability, declared := range p.Network.Capabilities {
			if v, ok := c.a.Capabilities[capability]; ok && declared {
				asked[capability] = v
			}
		}
		if len(asked) > 0 {
			values["runtimeConfig"] = asked
		}
	}
	full, err := libcni.InjectConf(p, values)
	if err != nil {
		return nil, err
	}
	return full.Bytes, nil
}

// result gives what a plugin printed, in the configuration's version of the spec.
func (c *chain) result(out []byte) (json.RawMessage, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(out, &top); err != nil {
		return nil, err
	}
	if top == nil {
		return nil, errors.New("it is null")
	}
	if v := string(top["cniVersion"]); v == "" || v == `""` || v == "null" {
		// The spec's oldest versions let it out: then it is the input's.
		text, err := json.Marshal(c.conf.list.CNIVersion)
		if err != nil {
			return nil, err
		}
		top["cniVersion"] = text
		if out, err = json.Marshal(top); err != nil {
			return nil, err
		}
	}
	r, err := create.CreateFromBytes(out)
	if err != nil {
		return nil, err
	}
	return inVersion(r, c.conf.list.CNIVersion)
}

func inVersion(r types.Result, version string) (json.RawMessage, error) {
	r, err := r.GetAsVersion(version)
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}
