package bridge

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A pod's limits are shapers on the node, where a pod with NET_ADMIN can't reach them: token buckets (tc-tbf(8)) with a queue before them. A
// policer would be less to set up, but it can only drop: a sender then swings between too much and too little.
//
// What comes to the pod waits in the queue of the node's end of its link. What the pod sends is received there, and the kernel shapes only what leaves:
// so each packet is turned aside to a device of the pod's (ifb), waits in that one's queue, and goes on as if just received. It is how CNI's
// bandwidth plugin does it, too, and `tc -s qdisc` shows all of it. A pod without such a limit has no such device.

// Limits are what a pod's traffic is kept to, in bits per second with the frames' headers; 0: no limit.
type Limits struct {
	// ToPod is what comes to the pod, FromPod what it sends, to whomever: the node and other pods, too.
	ToPod, FromPod uint64
}

// ifbPrefix is what the names of devices begin with that shape what a pod sends.
const ifbPrefix = "ifb"

// ifbLink is the name of the pod's.
func ifbLink(pod string) string { return ifbPrefix + pod[:12] }

// limit puts the lease's limits on the pod's link, which has carried no packet yet. node is a socket on the node.
func (n *Network) limit(node *routeSocket, l *lease) error {
	err := n.limitTo(node, l)
	if err == nil {
		err = n.limitFrom(node, l)
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%w: limits of bandwidth need CONFIG_NET_SCH_TBF, NET_SCH_INGRESS, NET_CLS_U32, NET_ACT_MIRRED and IFB in the kernel", err)
	}
	return err
}

func (n *Network) limitTo(node *routeSocket, l *lease) error {
	if l.limits.ToPod == 0 {
		return nil
	}
	link := hostLink(l.pod)
	index, err := node.linkIndex(link)
	if err != nil {
		return err
	}
	return node.do(shape(link, index, bucketOf(l.limits.ToPod, n.mtu())))
}

func (n *Network) limitFrom(node *routeSocket, l *lease) error {
	if l.limits.FromPod == 0 {
		return nil
	}
	aside, link := ifbLink(l.pod), hostLink(l.pod)
	if _, err := node.linkIndex(aside); err == nil {
		return fmt.Errorf("there is a link %s already, of another program", aside)
	}
	// In one message, so that there is none without the mark by which it is found when its pod's lease is gone.
	if err := node.do(newIfb(aside, n.mtu()), markLink(aside, n.ownerMark())); err != nil {
		return err
	}
	if err := write(conf6, noV6(aside)); err != nil {
		return err
	}
	from, err := node.linkIndex(link)
	if err != nil {
		return err
	}
	to, err := node.linkIndex(aside)
	if err != nil {
		return err
	}
	if err := node.do(shape(aside, to, bucketOf(l.limits.FromPod, n.mtu())), linkUp(aside)); err != nil {
		return err
	}
	return turnAside(link, from, aside, to)
}

// bucket is a token bucket with its queue.
type bucket struct {
	// rate is in bytes per second.
	rate uint64
	// burst is how many bytes may go at once after a pause, queue how many may wait: what comes beyond is dropped.
	burst, queue uint32
}

const (
	// burstTime and queueTime are how long at the rate a burst lasts, and a full queue takes, in parts of a second. A burst covers what the kernel's
	// timer comes late.
	burstTime, queueTime = 50, 20
	// leastBurst and leastQueue are in frames: also a slow link must let a frame through, and hold so many that a sender learns the rate by more than
	// its own timer.
	leastBurst, leastQueue = 4, 20
	// mostAtOnce bounds both in bytes, where in truth nothing is limited.
	mostAtOnce = 256 << 20
	frameHead  = 14
)

// bucketOf gives the bucket for a rate in bits per second and frames with mtu bytes behind their heads.
func bucketOf(bits uint64, mtu int) bucket {
	rate, frame := (bits+7)/8, uint64(mtu+frameHead)
	return bucket{
		rate:  rate,
		burst: uint32(min(max(rate/burstTime, leastBurst*frame), mostAtOnce)),
		queue: uint32(min(max(rate/queueTime, leastQueue*frame), mostAtOnce)),
	}
}
