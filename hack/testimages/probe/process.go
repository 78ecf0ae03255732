package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func sleep(args []string) error {
	seconds, err := number(args, -1)
	if err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM, unix.SIGINT)
	var end <-chan time.Time
	if seconds >= 0 {
		end = time.After(time.Duration(seconds) * time.Second)
	}
	select {
	case <-term:
	case <-end:
	}
	return nil
}

func exit(args []string) error {
	n, err := number(args, 0)
	if err != nil {
		return err
	}
	os.Exit(int(n))
	return nil
}

func killSelf(args []string) error {
	n, err := number(args, int64(unix.SIGKILL))
	if err != nil {
		return err
	}
	signal.Reset()
	// PID 1 of a namespace is deaf to itself: this then returns.
	if err := unix.Kill(unix.Getpid(), unix.Signal(n)); err != nil {
		return err
	}
	return sleep([]string{"1"})
}

func spin([]string) error {
	for n := uint64(1); ; n++ {
		if n == 0 {
			fmt.Println("2^64 rounds")
		}
	}
}

// hoard keeps alloc's memory reachable.
var hoard [][]byte

func alloc(args []string) error {
	mib, err := number(args, 64)
	if err != nil {
		return err
	}
	for range mib {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		hoard = append(hoard, block)
	}
	fmt.Println("allocated", mib, "MiB")
	return sleep(nil)
}

func flood(args []string) error {
	left, err := number(args, -1)
	if err != nil {
		return err
	}
	block := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 640))
	for left != 0 {
		n := len(block)
		if left > 0 && left < int64(n) {
			n = int(left)
		}
		if _, err := os.Stdout.Write(block[:n]); err != nil {
			return err
		}
		if left > 0 {
			left -= int64(n)
		}
	}
	return nil
}

func trap(args []string) error {
	if len(args) != 1 {
		return errors.New("want a signal's name")
	}
	s := unix.SignalNum("SIG" + strings.TrimPrefix(args[0], "SIG"))
	if s == 0 {
		return fmt.Errorf("%s is no signal", args[0])
	}
	got := make(chan os.Signal, 16)
	signal.Notify(got, s)
	fmt.Println("ready")
	for n := 1; ; n++ {
		fmt.Println((<-got).(syscall.Signal), n)
	}
}

func fork(args []string) error {
	n, err := number(args, 1)
	if err != nil {
		return err
	}
	for range n {
		child := exec.Command("/proc/self/exe", "sleep")
		if err := child.Start(); err != nil {
			return err
		}
		fmt.Println(child.Process.Pid)
	}
	return sleep(nil)
}

// orphan: the middle process is this one again; it starts the grandchild and ends, so that nobody but PID 1 or a subreaper is its parent.
func orphan(args []string) error {
	const middle = "middle"
	if len(args) == 1 && args[0] == middle {
		child := exec.Command("/proc/self/exe", "sleep")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			return err
		}
		fmt.Println(child.Process.Pid)
		return child.Process.Release()
	}
	cmd := exec.Command("/proc/self/exe", "orphan", middle)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func cat(args []string) error {
	if len(args) == 0 {
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	}
	for _, path := range args {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
