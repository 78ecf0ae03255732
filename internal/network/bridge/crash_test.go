package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const workerEnv = "PODLET_BRIDGE_TEST_WORKER"

// workerOrder is what a worker process is asked to do.
type workerOrder struct {
	Config Config
	// Links: with links and namespaces; else leases alone.
	Links bool
	// Held are the pods that the workers before it have.
	Held []string
	// Most is how many pods each of the eight has at most.
	Most int
}

// runWorker is podlet: eight goroutines give addresses out and take them back until somebody kills the process. "+ POD IPs" is
// written after an address was given, "- POD" before it is taken back.
func runWorker() int {
	var order workerOrder
	if err := json.NewDecoder(os.Stdin).Decode(&order); err != nil {
		fmt.Println("!", err)
		return 1
	}
	n, err := Open(order.Config)
	if err == nil {
		_, err = n.Recover(context.Background(), order.Held)
	}
	if err != nil {
		fmt.Println("!", err)
		return 1
	}
	fmt.Println("ready")
	var all sync.WaitGroup
	for i := range 8 {
		var mine []string
		for j := i; j < len(order.Held); j += 8 {
			mine = append(mine, order.Held[j])
		}
		all.Go(func() {
			if err := work(n, order, mine); err != nil {
				fmt.Println("!", err)
			}
		})
	}
	all.Wait()
	return 1
}

func work(n *Network, order workerOrder, mine []string) error {
	for {
		if len(mine) > rand.IntN(order.Most) {
			i := rand.IntN(len(mine))
			id := mine[i]
			mine[i] = mine[len(mine)-1]
			mine = mine[:len(mine)-1]
			fmt.Printf("- %s\n", id)
			if err := n.Remove(context.Background(), id); err != nil {
				return err
			}
			continue
		}
		id := newID()
		ips, err := workerAdd(n, order.Links, id)
		if err != nil {
			return err
		}
		fmt.Printf("+ %s %s\n", id, strings.Trim(fmt.Sprint(ips), "[]"))
		mine = append(mine, id)
	}
}

func workerAdd(n *Network, links bool, id string) ([]netip.Addr, error) {
	if links {
		var ns *os.File
		err := onThread(func() (err error) {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			ns, err = os.Open("/proc/thread-self/ns/net")
			return err
		})
		if err != nil {
			return nil, err
		}
		// A pod's namespace is another's to keep; here nobody sends, so it may go.
		defer ns.Close()
		want := Want{Ports: []PortMapping{{Protocol: UDP, HostPort: uint16(1 + rand.IntN(65535)), PodPort: 53}}}
		if rand.IntN(3) == 0 {
			want.Limits.FromPod = 1e6
		}
		r, err := n.Add(context.Background(), id, there(ns), want)
		return r.IPs, err
	}
	l, err := n.grant(id, Want{})
	if err != nil {
		return nil, err
	}
	defer func() { <-l.turn }()
	if err := n.leases.save(l); err != nil {
		return nil, err
	}
	n.writeCursor()
	return l.addresses(), nil
}

// ledger is what the test knows of addresses from what the workers wrote.
type ledger struct {
	byPod map[string][]string
	byIP  map[string]string
	given int
}

// read reads what a worker writes until it is dead, and calls ready when it has begun.
func (l *ledger) read(t *testing.T, r io.Reader, ready func()) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) == 1 && f[0] == "ready":
			ready()
		case len(f) > 2 && f[0] == "+":
			l.given++
			l.byPod[f[1]] = f[2:]
			for _, ip := range f[2:] {
				if other := l.byIP[ip]; other != "" {
					t.Errorf("%s was given to %s while %s had it", ip, f[1], other)
				}
				l.byIP[ip] = f[1]
			}
		case len(f) == 2 && f[0] == "-":
			for _, ip := range l.byPod[f[1]] {
				delete(l.byIP, ip)
			}
			delete(l.byPod, f[1])
		case len(f) > 0 && f[0] == "!":
			if !strings.Contains(lines.Text(), ErrPortTaken.Error()) {
				t.Errorf("a worker: %s", lines.Text())
			}
		}
	}
}

func (l *ledger) pods() []string {
	var list []string
	for id := range l.byPod {
		list = append(list, id)
	}
	return list
}

// TestKill9: all addresses of a subnet go out and back under eight workers, whose process is killed at random.
func TestKill9(t *testing.T) {
	for _, c := range []struct {
		name    string
		subnets []netip.Prefix
		links   bool
		most    int
		rounds  int
		least   int
	}{
		{"leases", []netip.Prefix{netip.MustParsePrefix("10.99.0.0/20"), subnet6}, false, 500, 20, 2 * 4096},
		{"links", []netip.Prefix{netip.MustParsePrefix("10.99.0.0/26"), subnet6}, true, 4, 8, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() {
				c.rounds, c.least = c.rounds/4, max(c.least/16, 8)
				c.most /= 4
				c.subnets[0] = netip.PrefixFrom(c.subnets[0].Addr(), c.subnets[0].Bits()+2)
			}
			cfg := testConfig(t, c.subnets...)
			cfg.Log = nil
			books := &ledger{byPod: map[string][]string{}, byIP: map[string]string{}}
			for round := 0; round < c.rounds || books.given < c.least; round++ {
				// More from round to round, for a slow machine.
				killedWorker(t, workerOrder{cfg, c.links, books.pods(), c.most}, books, 400+40*round, round%2 == 1)
				if t.Failed() {
					return
				}
			}
			t.Logf("%d addresses given out, %d in use at the end", books.given, len(books.byPod))
			n := openNetwork(t, cfg)
			if _, err := n.Recover(context.Background(), books.pods()); err != nil {
				t.Fatal(err)
			}
			for _, l := range n.list() {
				if got := strings.Trim(fmt.Sprint(l.addresses()), "[]"); got != strings.Join(books.byPod[l.pod], " ") {
					t.Errorf("pod %s has %s, was given %s", l.pod, got, books.byPod[l.pod])
				}
			}
			if got := len(n.list()); got != len(books.byPod) {
				t.Errorf("%d leases, %d pods: addresses leak or are lost", got, len(books.byPod))
			}
			if missing, err := n.table.missing(n.withOpenPorts()); err != nil || missing != "" {
				t.Errorf("rules: missing or too much: %q, %v", missing, err)
			}
			n.work.Wait() // for what cutLater cuts
			links, err := listLinks()
			must(t, err)
			for _, link := range links {
				pod := func(l *lease) bool { return ifbLink(l.pod) == link.Attrs().Name }
				if link.Type() == "ifb" && !slices.ContainsFunc(n.list(), pod) {
					t.Errorf("the device %s is left of a pod that is gone", link.Attrs().Name)
				}
			}
			for {
				if _, err := workerAdd(n, false, newID()); err != nil {
					break
				}
			}
			if got := len(n.list()); got != n.v4.capacity {
				t.Errorf("%d addresses could be given out, the subnet has %d", got, n.v4.capacity)
			}
		})
	}
}

// killedWorker runs a worker for at most so many milliseconds, and 600 more with links: from its start, so that Open and Recover are hit as well, or once it
// has begun, so that it gets on with its work however slow the machine is.
func killedWorker(t *testing.T, order workerOrder, books *ledger, most int, begun bool) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), workerEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	must(t, json.NewEncoder(in).Encode(order))
	in.Close()
	if order.Links {
		most += 600
	}
	killSoon := func() {
		kill := time.AfterFunc(time.Duration(20+rand.IntN(most))*time.Millisecond, func() { cmd.Process.Kill() })
		t.Cleanup(func() { kill.Stop() })
	}
	ready := killSoon
	if !begun {
		killSoon()
		ready = func() {}
	}
	books.read(t, out, ready)
	cmd.Process.Kill()
	cmd.Wait()
}
