// Command agent runs inside the guest and carries out the driver's commands (package wire), one at a time, each in a session of its own.
// The guest's init starts it; when the driver hangs up it returns, and init powers the machine off.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"podlet/hack/vm/wire"
)

// lingering is how long the agent waits for output after a command's exit while some descendant still holds the pipe.
const lingering = 10 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "podlet vm agent:", err)
		os.Exit(1)
	}
}

func run() error {
	port, err := openPort()
	if err != nil {
		return err
	}
	defer port.Close()
	return serve(port)
}

// serve carries out what port's other end asks for, until that hangs up.
func serve(port io.ReadWriter) error {
	conn := wire.NewConn(port)
	ready, err := describe()
	if err != nil {
		return err
	}
	if err := conn.SendJSON(wire.KindReady, ready); err != nil {
		return err
	}
	var stdin io.WriteCloser // of the command that runs; nil: it wants none
	for {
		kind, payload, err := conn.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read from the driver: %w", err)
		}
		switch kind {
		case wire.KindRun:
			var run wire.Run
			if err := json.Unmarshal(payload, &run); err != nil {
				return fmt.Errorf("decode a command: %w", err)
			}
			stdin = start(conn, run)
		case wire.KindStdin:
			stdin = feed(stdin, payload)
		default:
			return fmt.Errorf("the driver sent a frame of kind %q", kind)
		}
	}
}

// feed writes to the command's input and returns it, or nil once it has ended. A command that no longer reads is no error.
func feed(stdin io.WriteCloser, payload []byte) io.WriteCloser {
	if stdin == nil {
		return nil
	}
	if len(payload) > 0 {
		if _, err := stdin.Write(payload); err == nil {
			return stdin
		}
	}
	stdin.Close()
	return nil
}

// start runs the command; its end is reported by a goroutine that lives as long as the command does.
func start(conn *wire.Conn, run wire.Run) (stdin io.WriteCloser) {
	if len(run.Args) == 0 {
		conn.SendJSON(wire.KindExit, wire.Exit{Code: 127, Problem: "the command is empty"})
		return nil
	}
	cmd := exec.Command(run.Args[0], run.Args[1:]...)
	cmd.Dir = cmp.Or(run.Dir, "/root")
	cmd.Env = append(append(os.Environ(), "PWD="+cmd.Dir), run.Env...)
	cmd.Stdout, cmd.Stderr = conn.Stream(wire.KindStdout), conn.Stream(wire.KindStderr)
	cmd.WaitDelay = lingering
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	began := time.Now()
	// Else its absence would be told as the program's.
	_, err := os.Stat(cmd.Dir)
	if err == nil && run.Stdin {
		stdin, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		conn.SendJSON(wire.KindExit, wire.Exit{Code: 127, Problem: err.Error()})
		return nil
	}
	go func() {
		exit := outcome(cmd, await(conn, cmd))
		exit.Elapsed = time.Since(began)
		conn.SendJSON(wire.KindExit, exit)
	}()
	return stdin
}

// await waits for the command's end and tells the driver meanwhile that the guest is alive.
func await(conn *wire.Conn, cmd *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	alive := time.NewTicker(wire.AliveEvery)
	defer alive.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-alive.C:
			conn.Send(wire.KindAlive, nil)
		}
	}
}

func outcome(cmd *exec.Cmd, err error) wire.Exit {
	exit := wire.Exit{Code: cmd.ProcessState.ExitCode()}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Code = 128 + int(status.Signal())
		exit.Problem = "killed by " + unix.SignalName(status.Signal())
	}
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		exit.Problem = err.Error()
		if errors.Is(err, exec.ErrWaitDelay) {
			exit.Problem = fmt.Sprintf("a process it left behind still held its output %s after its exit", lingering)
		}
		if exit.Code == 0 {
			exit.Code = 1
		}
	}
	return exit
}

// openPort opens the driver's port; without udev it has to be found by its name in sysfs.
func openPort() (*os.File, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, file := range names {
		name, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(string(name)) == wire.PortName {
			return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(file)), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("none of %d virtio-serial ports is named %s: is virtio_console loaded?", len(names), wire.PortName)
}

func describe() (wire.Ready, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return wire.Ready{}, fmt.Errorf("uname: %w", err)
	}
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return wire.Ready{}, err
	}
	first, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return wire.Ready{}, fmt.Errorf("parse /proc/uptime %q: %w", text, err)
	}
	return wire.Ready{Kernel: unix.ByteSliceToString(uts.Release[:]), Uptime: time.Duration(seconds * float64(time.Second))}, nil
}
