package machine

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"podlet/hack/vm/wire"
)

// The test binary plays the emulator, and the guest in it: roleEnv says how it behaves.
const roleEnv = "PODLET_VM_TEST_EMULATOR"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := emulate(role); err != nil {
			fmt.Println("emulator:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	before := resources()
	code := m.Run()
	after := resources()
	// What a test gave up may be about to end still.
	for deadline := time.Now().Add(time.Minute); after != before && time.Now().Before(deadline); after = resources() {
		time.Sleep(10 * time.Millisecond)
	}
	if code == 0 && after != before {
		fmt.Printf("left behind: before %s, after %s\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// resources are this process's sockets and children.
func resources() string {
	files, _ := filepath.Glob("/proc/self/fd/*")
	sockets := 0
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && strings.HasPrefix(target, "socket:") {
			sockets++
		}
	}
	children := ""
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		list, _ := os.ReadFile(task)
		children += string(list)
	}
	return fmt.Sprintf("%d sockets, children %q", sockets, children)
}

// interrupted waits for the order to send an NMI, and obeys.
func interrupted() error {
	monitor := os.NewFile(monitor, "monitor")
	orders := json.NewDecoder(monitor)
	for {
		var order struct{ Execute string }
		if err := orders.Decode(&order); err != nil {
			return err
		}
		if _, err := io.WriteString(monitor, `{"return": {}}`); err != nil {
			return err
		}
		if order.Execute == "inject-nmi" {
			return os.WriteFile(console, []byte("guest: all tasks\n"), 0o644)
		}
	}
}

// console is the file of the emulated guest's.
var console string

// emulate carries out the commands "echo", "stdin", "die", "slow" and "hang".
func emulate(role string) error {
	for _, arg := range os.Args {
		if path, ok := strings.CutPrefix(arg, "file,id=console,path="); ok {
			console = path
			if err := os.WriteFile(path, []byte("guest: "+role+"\n"), 0o644); err != nil {
				return err
			}
		}
	}
	if role == "no boot" {
		return fmt.Errorf("no such disk")
	}
	if role == "hung boot" {
		return interrupted()
	}
	channel := os.NewFile(channel, "channel")
	if role == "terminal" {
		_, err := io.CopyN(channel, channel, 5)
		return err
	}
	conn := wire.NewConn(channel)
	if err := conn.SendJSON(wire.KindReady, wire.Ready{Kernel: "6.1-test"}); err != nil {
		return err
	}
	for {
		kind, payload, err := conn.Receive()
		if err == io.EOF && role == "deaf" {
			select {}
		}
		if err == io.EOF {
			return os.WriteFile(os.Getenv("PODLET_VM_TEST_OFF"), nil, 0o644)
		}
		if err != nil {
			return err
		}
		switch kind {
		case wire.KindStdin:
			conn.Send(wire.KindStdout, payload)
			if len(payload) == 0 {
				conn.SendJSON(wire.KindExit, wire.Exit{})
			}
		case wire.KindRun:
			var run wire.Run
			if err := json.Unmarshal(payload, &run); err != nil {
				return err
			}
			switch run.Args[0] {
			case "echo":
				conn.Send(wire.KindStdout, []byte(run.Args[1]))
				conn.Send(wire.KindStderr, []byte(run.Args[1]))
				conn.SendJSON(wire.KindExit, wire.Exit{Code: 7})
			case "die":
				return fmt.Errorf("the guest's disk burns")
			case "slow":
				for range 25 {
					time.Sleep(100 * time.Millisecond)
					conn.Send(wire.KindAlive, nil)
				}
				conn.SendJSON(wire.KindExit, wire.Exit{Code: 7})
			case "hang":
				conn.Send(wire.KindStdout, []byte("hanging"))
				return interrupted()
			}
		}
	}
}
