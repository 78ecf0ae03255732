package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Inside runs do on a thread that is in the network namespace netns. What do opens stays there; it must not start goroutines that should be
// there too. It costs two setns(2).
func Inside(netns *os.File, do func() error) error {
	type result struct {
		entered bool
		err     error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		entered, home, err := visit(int(netns.Fd()), do)
		// A thread that can't come home must not run anything else: the goroutine ends locked to it, and Go ends the thread.
		if home {
			runtime.UnlockOSThread()
		}
		done <- result{entered, err}
	}()
	r := <-done
	if r.err != nil && !r.entered {
		return fmt.Errorf("enter the network namespace %s: %w", netns.Name(), r.err)
	}
	return r.err
}

// visit takes the calling thread into the namespace and back; home: it is back.
func visit(netns int, do func() error) (entered, home bool, err error) {
	back, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, true, fmt.Errorf("open the thread's own namespace: %w", err)
	}
	defer unix.Close(back)
	if err := unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
		return false, true, fmt.Errorf("setns: %w", err)
	}
	err = do()
	return true, unix.Setns(back, unix.CLONE_NEWNET) == nil, err
}

// routeSocket makes an rtnetlink socket in the namespace: a socket stays where
// it was made, so the thread is there for one call only.
func routeSocket(netns *os.File) (fd int, err error) {
	err = Inside(netns, func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("netlink socket in %s: %w", netns.Name(), err)
	}
	return fd, nil
}

// errChanged: the kernel's table changed while it was listed, so what was read may lack something.
var errChanged = errors.New("the list changed while it was read")

// dumpTries bounds how often a list is read again that changed meanwhile.
const dumpTries = 5

// dump asks for a whole table, by a request with its body, and hands each message to take. A list that changed under the reading is read once more from its start.
func dump(sock int, request uint16, body []byte, take func(*syscall.NetlinkMessage) error) error {
	err := errChanged
	for seq := uint32(1); seq <= dumpTries && err == errChanged; seq++ {
		var messages []syscall.NetlinkMessage
		if messages, err = readTable(sock, request, body, seq); err != nil {
			continue
		}
		for i := range messages {
			if err := take(&messages[i]); err != nil {
				return err
			}
		}
	}
	return err
}

func readTable(sock int, request uint16, body []byte, seq uint32) ([]syscall.NetlinkMessage, error) {
	// struct nlmsghdr before the body.
	ask := append(make([]byte, unix.SizeofNlMsghdr), body...)
	binary.NativeEndian.PutUint32(ask[0:], uint32(len(ask)))
	binary.NativeEndian.PutUint16(ask[4:], request)
	binary.NativeEndian.PutUint16(ask[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(ask[8:], seq)
	if err := unix.Sendto(sock, ask, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("send the request: %w", err)
	}
	var all []syscall.NetlinkMessage
	changed := false
	for {
		// A dump's messages have at most 32 KiB (netlink_dump in the kernel).
		buffer := make([]byte, 64<<10)
		n, _, flags, from, err := unix.Recvmsg(sock, buffer, nil, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("receive the answer: %w", err)
		}
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
			continue // not from the kernel
		}
		if flags&unix.MSG_TRUNC != 0 {
			return nil, fmt.Errorf("receive the answer: a message longer than %d bytes", len(buffer))
		}
		messages, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		for _, m := range messages {
			if m.Header.Seq != seq {
				continue
			}
			changed = changed || m.Header.Flags&unix.NLM_F_DUMP_INTR != 0
			switch m.Header.Type {
			case unix.NLMSG_ERROR:
				if len(m.Data) < 4 {
					return nil, errors.New("read the answer: an error without a number")
				}
				return nil, syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
			case unix.NLMSG_DONE:
				if changed {
					return nil, errChanged
				}
				return all, nil
			}
			all = append(all, m)
		}
	}
}
