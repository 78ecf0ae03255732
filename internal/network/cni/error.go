package cni

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The kinds of errors that callers tell apart.
var (
	// ErrNotReady: there is no network to add pods to, or its plugin says that it can't take any.
	ErrNotReady = errors.New("the pod network is not ready")
	// ErrTryAgain: a plugin says that the same call may succeed later (error code 11 of the spec).
	ErrTryAgain = errors.New("try again later")
	// ErrTimeout: a plugin was ended since it took too long.
	ErrTimeout = errors.New("took too long")
	// ErrInvalid: what is asked for can be given to no plugin.
	ErrInvalid = errors.New("invalid request")
)

// codes are the errors of the spec (section 5, Error) in words, where a number says more than the plugin's own message.
var codes = map[uint]string{
	1: "incompatible CNI version", 2: "unsupported field in the configuration", 3: "unknown container", 4: "invalid environment variables",
	5: "I/O failure", 6: "the configuration can't be decoded", 7: "invalid configuration", 8: "invalid network namespace", 11: "try again later",
	50: "the plugin can't add pods", 51: "the plugin can't add pods, and those that are there may have limited connectivity",
}

const (
	codeTryAgain = 11
)

// PluginError says which plugin failed at what.
type PluginError struct {
	// Verb is ADD, DEL, CHECK, STATUS or GC.
	Verb string
	// Plugin is the plugin's type, File the configuration's file name.
	Plugin, File string
	// Code is the spec's, 0 where the plugin gave none, Message what it said.
	Code    uint
	Message string
	// Took is the time of all plugins of the verb up to then, of Limit.
	Took, Limit time.Duration
	// Err is the kind of the error, or its cause; nil where the plugin just failed.
	Err error
}

func (e *PluginError) Error() string {
	s := fmt.Sprintf("CNI %s by plugin %s of %s: ", e.Verb, e.Plugin, e.File)
	switch {
	case errors.Is(e.Err, ErrTimeout):
		return s + fmt.Sprintf("it was ended after %s of %s%s", round(e.Took), round(e.Limit), afterColon(e.Message))
	case errors.Is(e.Err, context.Canceled) || errors.Is(e.Err, context.DeadlineExceeded):
		s += fmt.Sprintf("it was ended, as the caller gave up (%v)%s", e.Err, afterColon(e.Message))
	case e.Message == "" && e.Err != nil:
		s += e.Err.Error()
	default:
		s += e.Message
	}
	if words := codes[e.Code]; words != "" {
		s += fmt.Sprintf(" (code %d: %s)", e.Code, words)
	} else if e.Code != 0 {
		s += fmt.Sprintf(" (code %d)", e.Code)
	}
	return s + fmt.Sprintf(", after %s of %s", round(e.Took), round(e.Limit))
}

// Unwrap gives the kind or the cause.
func (e *PluginError) Unwrap() error { return e.Err }

// unready makes an error one of the kind ErrNotReady; it says enough without that one's words.
type unready struct{ error }

func (u unready) Unwrap() []error { return []error{ErrNotReady, u.error} }

func afterColon(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
