package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

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
