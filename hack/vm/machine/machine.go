package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/vm/wire"
)

const (
	emulator = "qemu-system-x86_64"
	portName = wire.PortName
	// offTime is how long a guest that was asked to power off may take.
	offTime = 30 * time.Second
)

// Machine is a running guest. Run is for one goroutine at a time; Kill may be called from any, at any time, and so may Close.
type Machine struct {
	Ready wire.Ready // what the agent said of the guest; zero in shell mode

	config  Config
	process *os.Process
	channel *net.UnixConn // to the agent or to the shell's terminal
	monitor *net.UnixConn // to the emulator
	wire    *wire.Conn
	ended   chan struct{} // closed once the process has been reaped
	killed  sync.Once
	missed  atomic.Int32 // looks in a row that found no sign of life

	crashed  sync.Once
	answered bool // what crash found
}

// Start boots a guest. In agent mode it returns once the agent is ready, in shell mode at once. The end of ctx at any later time is the machine's: see Run.
//
// An error after the emulator's start quotes the console's last lines.
func Start(ctx context.Context, config Config) (*Machine, error) {
	channel, theirs, err := socketPair("channel")
	if err != nil {
		return nil, fmt.Errorf("make the machine's socket: %w", err)
	}
	monitor, emulators, err := socketPair("monitor")
	if err != nil {
		channel.Close()
		theirs.Close()
		return nil, fmt.Errorf("make the emulator's socket: %w", err)
	}
	m := &Machine{config: config, channel: channel, monitor: monitor, wire: wire.NewConn(channel), ended: make(chan struct{})}
	err = m.spawn(theirs, emulators)
	// Else the emulator's end would be none of the sockets'.
	theirs.Close()
	emulators.Close()
	if err != nil {
		m.hangUp()
		return nil, err
	}
	context.AfterFunc(ctx, func() { m.giveUp(ctx) })
	if config.Mode == Shell {
		return m, nil
	}
	if err := m.awaitReady(ctx); err != nil {
		if ctx.Err() == nil {
			m.Kill()
		}
		<-m.ended
		m.hangUp()
		return nil, m.explain(fmt.Errorf("boot the guest: %w", err))
	}
	return m, nil
}

func (m *Machine) awaitReady(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	m.heard()
	go m.hear(m.config.Silence, done)
	kind, payload, err := m.wire.Receive()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return m.hung()
	case errors.Is(err, io.EOF):
		return errors.New("it went off before its agent was ready")
	case err != nil:
		return err
	case kind != wire.KindReady:
		return fmt.Errorf("its agent began with a frame of kind %q", kind)
	}
	return decode(payload, &m.Ready)
}

// spawn starts qemu from a thread that stays for as long as qemu does, as PDEATHSIG is sent at the parent thread's end.
func (m *Machine) spawn(channel, monitor *os.File) error {
	log, err := os.Create(m.config.emulator())
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(emulator, m.config.arguments()...)
	cmd.Env = append(os.Environ(), "TMPDIR="+m.config.Dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{channel, monitor}
	// A group of its own: the terminal's Ctrl-C is ours to act on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			// Its exit code says nothing that its log and the channel's end don't.
			cmd.Wait()
			close(m.ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start the emulator: %w", err)
	}
	m.process = cmd.Process
	return nil
}

// Kill cuts the guest's power. It doesn't wait: see Ended.
func (m *Machine) Kill() {
	m.killed.Do(func() { m.process.Kill() })
}

// Ended is closed once the emulator is gone.
func (m *Machine) Ended() <-chan struct{} { return m.ended }

// Close ends the guest and returns once the emulator is gone. With a data disk it is powered off, which unmounts the disk, and an error says that it had to be killed; without one there is nothing that a power cut could harm.
func (m *Machine) Close() error {
	defer m.hangUp()
	if m.config.Data == "" {
		m.Kill()
		<-m.ended
		return nil
	}
	// The agent reads an end of file, and init goes on.
	m.channel.CloseWrite()
	timeout := time.NewTimer(offTime)
	defer timeout.Stop()
	select {
	case <-m.ended:
		return nil
	case <-timeout.C:
		m.Kill()
		<-m.ended
		return m.explain(fmt.Errorf("the guest did not power off in %s and was killed", offTime))
	}
}

func (m *Machine) hangUp() {
	m.channel.Close()
	m.monitor.Close()
}

func socketPair(name string) (*net.UnixConn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), name), os.NewFile(uintptr(pair[1]), "emulator's "+name)
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}
