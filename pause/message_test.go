package pause

import (
	"encoding/binary"
	"os"
	"testing"
)

// FuzzHandle feeds a connection with packets as a pause gone mad might send them: it may end the connection, nothing else. Each file that comes must have
// exactly one owner in the end.
func FuzzHandle(f *testing.F) {
	join := func(packets ...[]byte) []byte {
		var all []byte
		for _, p := range packets {
			all = binary.LittleEndian.AppendUint16(all, uint16(len(p))|1<<15)
			all = append(all, p...)
		}
		return all
	}
	f.Add(join(bytesOf(msgWelcome{Version: 1}, typeWelcome, 1)))
	f.Add(join(bytesOf(msgCloned{Slot: 3, PID: 4}, typeCloned, 2), bytesOf(msgProcess{ID: testID(1)}, typeExited, 0)))
	f.Add(join(bytesOf(msgProcess{ID: testID(1)}, typeProcess, 3), bytesOf(msgProcess{ID: testID(2)}, typeProcess, 3), bytesOf(msgHeader{}, typeDone, 3)))
	f.Add(join(bytesOf(msgProcess{ID: testID(1)}, typeProcess, 4), bytesOf(msgFailed{Error: 1}, typeFailed, 4)))
	f.Add(join(bytesOf(msgHeader{}, typeDone, 5), bytesOf(msgHeader{}, typeTapped, 6), bytesOf(msgHeader{}, typeTapped, 7)))
	f.Add(join(bytesOf(msgCloned{}, typeCloned, 8), bytesOf(msgProcess{ID: testID(8)}, typeExited, 0)))
	f.Fuzz(fuzzHandle)
}

// fuzzHandle takes data as packets, each behind 16 bits: its length and, the highest, whether a file comes with it.
func fuzzHandle(t *testing.T, data []byte) {
	sock, peer, err := socketPair()
	must(t, err)
	defer peer.Close()
	raw, err := sock.SyscallConn()
	must(t, err)
	c := &Conn{sock: sock, raw: raw, sending: make(chan struct{}, 1), lost: make(chan struct{})}
	c.mu.waiting = make(map[uint64]*call)
	c.mu.unwanted = make(map[ID]bool)
	var files []*os.File
	var calls []*call
	for _, k := range []*call{
		{request: "HELLO", want: typeWelcome}, {request: "CLONE", want: typeCloned}, {request: "LIST", want: typeDone},
		{request: "LIST", want: typeDone, gaveUp: true}, {request: "ACK", want: typeDone}, {request: "TAP", want: typeTapped},
		{request: "TAP", want: typeTapped, gaveUp: true},
		{request: "CLONE", want: typeCloned, gaveUp: true, late: func(r reply) { c.mu.unwanted[testID(8)] = true; r.drop() }},
	} {
		_, err := c.expect(k)
		must(t, err)
		calls = append(calls, k)
	}
	for len(data) >= 2 {
		head := binary.LittleEndian.Uint16(data)
		size := min(int(head&0x1ff), len(data)-2)
		var file *os.File
		if head&(1<<15) != 0 {
			file, err = os.Open("/dev/null")
			must(t, err)
			files = append(files, file)
		}
		err := c.handle(data[2:2+size], file)
		data = data[2+size:]
		if err != nil {
			break
		}
	}
	must(t, c.Close())
	for _, k := range calls {
		select {
		case r := <-k.reply:
			if k.gaveUp {
				t.Errorf("%s was given up and has an answer", k.request)
			}
			r.drop()
		default:
			if !k.gaveUp {
				t.Errorf("%s has no answer", k.request)
			}
		}
	}
	for i, f := range files {
		if f.Close() == nil {
			t.Errorf("file %d was left open", i)
		}
	}
}
