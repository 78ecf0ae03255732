package machine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"podlet/hack/vm/wire"
)

// emulated makes this test binary the emulator of that role.
func emulated(t *testing.T, role string) Config {
	t.Helper()
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, emulator)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	t.Setenv(roleEnv, role)
	t.Setenv("PODLET_VM_TEST_OFF", filepath.Join(bin, "off"))
	return Config{Kernel: "k", Initramfs: "i", Root: "r", Payload: "p", Mode: Agent, Dir: t.TempDir(), CPUs: 1, MemoryMiB: 256, Silence: time.Minute}
}

func start(t *testing.T, config Config) *Machine {
	t.Helper()
	m, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestRun(t *testing.T) {
	m := start(t, emulated(t, "guest"))
	if m.Ready.Kernel != "6.1-test" {
		t.Errorf("ready: %+v", m.Ready)
	}
	for range 2 {
		var stdout, stderr bytes.Buffer
		exit, err := m.Run(t.Context(), wire.Run{Args: []string{"echo", "hello"}}, nil, &stdout, &stderr)
		if err != nil || exit.Code != 7 || stdout.String() != "hello" || stderr.String() != "hello" {
			t.Errorf("%+v, %v, %q, %q", exit, err, stdout.String(), stderr.String())
		}
	}
	var stdout bytes.Buffer
	if exit, err := m.Run(t.Context(), wire.Run{Args: []string{"stdin"}}, strings.NewReader("some input"), &stdout, &stdout); err != nil || exit.Code != 0 || stdout.String() != "some input" {
		t.Errorf("with input: %+v, %v, %q", exit, err, stdout.String())
	}
}

func TestNoBoot(t *testing.T) {
	_, err := Start(t.Context(), emulated(t, "no boot"))
	if err == nil {
		t.Fatal("a guest without a disk came up")
	}
	for _, want := range []string{"went off before its agent was ready", "emulator: no such disk", "guest: no boot"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
}

func TestHungBoot(t *testing.T) {
	config := emulated(t, "hung boot")
	config.Silence = 10 * time.Millisecond
	if _, err := Start(t.Context(), config); !errors.Is(err, ErrHung) {
		t.Errorf("a guest that says nothing: %v", err)
	}
}

func TestNoEmulator(t *testing.T) {
	config := emulated(t, "guest")
	t.Setenv("PATH", t.TempDir())
	if _, err := Start(t.Context(), config); err == nil || !strings.Contains(err.Error(), emulator) {
		t.Error(err)
	}
}

func TestDeath(t *testing.T) {
	m := start(t, emulated(t, "guest"))
	_, err := m.Run(t.Context(), wire.Run{Args: []string{"die"}}, nil, &bytes.Buffer{}, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "the guest went off") || !strings.Contains(err.Error(), "disk burns") {
		t.Error(err)
	}
	if _, err := m.Run(t.Context(), wire.Run{Args: []string{"echo", ""}}, nil, &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
		t.Error("a dead machine ran a command")
	}
}

type onWrite func()

func (f onWrite) Write(p []byte) (int, error) { f(); return len(p), nil }

// The end of Run's context takes the machine with it.
func TestGivenUp(t *testing.T) {
	m := start(t, emulated(t, "guest"))
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := m.Run(ctx, wire.Run{Args: []string{"hang"}}, nil, onWrite(func() { cancel(why) }), &bytes.Buffer{})
	if !errors.Is(err, why) {
		t.Error(err)
	}
	<-m.Ended()
}

// What time ran out for prints its tasks before it is ended.
func TestOutOfTime(t *testing.T) {
	m := start(t, emulated(t, "guest"))
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errors.New("too long"))
	defer cancel()
	_, err := m.Run(ctx, wire.Run{Args: []string{"hang"}}, nil, &bytes.Buffer{}, &bytes.Buffer{})
	if err == nil || errors.Is(err, ErrHung) || !strings.Contains(err.Error(), "too long") || !strings.Contains(err.Error(), "guest: all tasks") {
		t.Error(err)
	}
}

func TestHung(t *testing.T) {
	m := start(t, emulated(t, "guest"))
	m.config.Silence = 2 * time.Second
	// Signs of life and output are none of silence.
	if exit, err := m.Run(t.Context(), wire.Run{Args: []string{"slow"}}, nil, &bytes.Buffer{}, &bytes.Buffer{}); err != nil || exit.Code != 7 {
		t.Errorf("%+v, %v", exit, err)
	}
	_, err := m.Run(t.Context(), wire.Run{Args: []string{"hang"}}, nil, &bytes.Buffer{}, &bytes.Buffer{})
	if !errors.Is(err, ErrHung) {
		t.Fatal(err)
	}
	for _, want := range []string{"its agent said nothing in 2s\n", "ns of CPU time", "guest: all tasks"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
}

// So does that of Start's.
func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m, err := Start(ctx, emulated(t, "guest"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cancel()
	<-m.Ended()
}

var errWrite = errors.New("no space")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errWrite }

func TestOutputError(t *testing.T) {
	m := start(t, emulated(t, "guest"))
	if _, err := m.Run(t.Context(), wire.Run{Args: []string{"echo", "x"}}, nil, full{}, full{}); !errors.Is(err, errWrite) {
		t.Error(err)
	}
	<-m.Ended()
}

// Only a machine with a data disk is powered off; the others' power is cut.
func TestClose(t *testing.T) {
	for data, wantOff := range map[string]bool{"": false, "disk": true} {
		config := emulated(t, "guest")
		config.Data = data
		m := start(t, config)
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		select {
		case <-m.Ended():
		default:
			t.Error("Close returned before the emulator's end")
		}
		_, err := os.Stat(os.Getenv("PODLET_VM_TEST_OFF"))
		if off := err == nil; off != wantOff {
			t.Errorf("with data disk %q it was powered off: %v", data, off)
		}
	}
}

func TestPowerCut(t *testing.T) {
	config := emulated(t, "deaf")
	config.Data = "disk"
	m := start(t, config)
	m.Kill()
	m.Kill()
	<-m.Ended()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestTerminal(t *testing.T) {
	config := emulated(t, "terminal")
	config.Mode = Shell
	m := start(t, config)
	var out bytes.Buffer
	if err := m.Attach(strings.NewReader("typed"), &out); err != nil || out.String() != "typed" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
