package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// killsEnv says how often TestPodletKilled kills podlet, seedEnv with which seed.
const (
	killsEnv = "PODLET_TEST_KILLS"
	seedEnv  = "PODLET_TEST_SEED"
)

func number(t *testing.T, env string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return otherwise
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// churn makes and deletes pods until stop is closed or podlet dies.
func (c *client) churn(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if err := c.turn(); err != nil {
			return
		}
	}
}

// turn does one thing of many.
func (c *client) turn() error {
	alive := slices.DeleteFunc(slices.Clone(c.pods), func(p *clientPod) bool { return p.remove == acknowledged })
	if len(alive) < 2 || len(alive) < 5 && c.random.IntN(3) == 0 {
		p, err := c.runPod(c.random.IntN(3) > 0)
		if err != nil {
			return err
		}
		return c.fill(p)
	}
	p := alive[c.random.IntN(len(alive))]
	if p.stop != notCalled || p.remove != notCalled {
		return c.removePod(p)
	}
	var k *clientContainer
	for _, other := range p.containers {
		if other.remove == notCalled && other.start == acknowledged {
			k = other
		}
	}
	switch c.random.IntN(6) {
	case 0:
		return c.stopPod(p)
	case 1:
		return c.removePod(p)
	case 2:
		if k != nil {
			return c.stop(p, k)
		}
	case 3:
		if k != nil {
			return c.remove(p, k)
		}
	case 4:
		if k != nil && k.lives == forever && k.stop == notCalled {
			return c.execTrue(p, k)
		}
	}
	return c.fill(p)
}

// fill starts a container or two.
func (c *client) fill(p *clientPod) error {
	for range 1 + c.random.IntN(2) {
		lives := []time.Duration{0, 30 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, forever}[c.random.IntN(5)]
		if _, err := c.startIn(p, c.random.IntN(100), lives); err != nil {
			return err
		}
	}
	return nil
}

// TestPodletKilled kills podlet at random moments while clients make and delete pods. After each restart podlet says what is there, and what was
// acknowledged.
func TestPodletKilled(t *testing.T) {
	if !private(t) {
		return
	}
	n := newNode(t)
	mounts := mountTable()
	seed := number(t, seedEnv, uint64(time.Now().UnixNano()))
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("%s=%d", seedEnv, seed)
	var clients []*client
	for i := range 4 {
		clients = append(clients, &client{n: n, number: i, random: rand.New(rand.NewPCG(seed, uint64(i+1)))})
	}
	times := &timing{ends: map[string]time.Duration{}}
	var answers []time.Duration
	for kill := range number(t, killsEnv, 25) {
		var working sync.WaitGroup
		stop := make(chan struct{})
		for _, c := range clients {
			working.Go(func() { c.churn(stop) })
		}
		time.Sleep(time.Duration(5+random.IntN(200)) * time.Millisecond)
		n.cmd.Process.Kill()
		n.cmd.Wait()
		close(stop)
		working.Wait()
		n.conn.Close()
		time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond)
		began := time.Now()
		n.start()
		answers = append(answers, time.Since(began))
		l := n.agree(mounts)
		for _, c := range clients {
			c.compare(l, n.status, times)
			if len(c.wrong) > 0 {
				t.Fatalf("kill %d, client %d:\n\t%s\npodlet's log:\n%s", kill, c.number, strings.Join(c.wrong, "\n\t"), n.told())
			}
		}
		n.nobodyElses(l, clients)
	}
	slices.Sort(answers)
	made := 0
	for _, c := range clients {
		made += c.made
	}
	t.Logf("%d kills, %d pods made; a new podlet answers after %v at most; ends: %s", len(answers), made, answers[len(answers)-1], times)
	n.emptied(mounts)
}

// nobodyElses fails the test over what podlet lists and no client ever asked for.
func (n *node) nobodyElses(l lists, clients []*client) {
	n.t.Helper()
	for _, c := range clients {
		for _, p := range c.pods {
			delete(l.pods, p.id)
			for _, k := range p.containers {
				delete(l.containers, k.id)
			}
		}
	}
	for _, p := range l.pods {
		n.t.Errorf("nobody knows pod %s", p.Metadata.Name)
	}
	for _, k := range l.containers {
		if n.known(k, clients) {
			continue
		}
		n.t.Errorf("nobody knows container %s of pod %.8s", k.Metadata.Name, k.PodSandboxId)
	}
}

func (n *node) known(k *cri.Container, clients []*client) bool {
	for _, c := range clients {
		for _, p := range c.pods {
			if p.id == k.PodSandboxId && p.remove != notCalled {
				return true
			}
		}
	}
	return false
}

func (x *timing) String() string {
	if len(x.ends) == 0 {
		return "none compared"
	}
	var sizes []time.Duration
	for _, d := range x.ends {
		sizes = append(sizes, d.Abs())
	}
	slices.Sort(sizes)
	return fmt.Sprintf("%d compared with an observer, off by %v (p50), %v (p95), %v (most)",
		len(sizes), sizes[len(sizes)/2], sizes[len(sizes)*95/100], sizes[len(sizes)-1])
}
