package spec

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestSignal(t *testing.T) {
	for name, want := range map[string]int{
		"SIGTERM": 15, "TERM": 15, "term": 15, "SigUsr1": 10, "9": 9, "64": 64, "SIGRTMIN": 34, "RTMIN+3": 37, "SIGRTMIN+30": 64, "SIGRTMAX": 64, "rtmax-1": 63,
		"SIGRTMAX-30": 34,

		"": 0, "0": 0, "65": 0, "-1": 0, "SIG": 0, "SIGNONE": 0, "SIGRTMIN+31": 0, "SIGRTMAX-31": 0, "SIGRTMIN+": 0, "SIGRTMIN+-1": 0, "SIGRTMIN+999": 0,
		" TERM": 0, "9 ": 0, "0x9": 0,
	} {
		if got := Signal(name); got != want {
			t.Errorf("Signal(%q) = %d, want %d", name, got, want)
		}
	}
}

func TestStopSignal(t *testing.T) {
	for _, c := range []struct {
		container int
		image     string
		want      unix.Signal
	}{
		{0, "", unix.SIGTERM},
		{0, "SIGQUIT", unix.SIGQUIT},
		{0, "nonsense", unix.SIGTERM},
		{10, "SIGQUIT", unix.SIGUSR1},
	} {
		if got := StopSignal(&Container{StopSignal: c.container}, &Image{StopSignal: c.image}); got != int(c.want) {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
