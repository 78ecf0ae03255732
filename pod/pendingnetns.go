package pod

import (
	"context"
	"fmt"
	"os"
)

// NetNS waits for a pod's network namespace, which is pinned and has lo and its sysctls then, and gives it. It stays its maker's.
type NetNS func(context.Context) (*os.File, error)

// pendingNetNS is a pod's network namespace while it is being made; one file at most.
type pendingNetNS chan *os.File

func newPendingNetNS() pendingNetNS { return make(pendingNetNS, 1) }

func (p pendingNetNS) made(ns *os.File) { p <- ns }

// await is a [NetNS]. Its error is the reason for ctx's end, which is why the namespace was not made, where that ended it.
func (p pendingNetNS) await(ctx context.Context) (*os.File, error) {
	select {
	case ns := <-p:
		p <- ns
		return ns, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the pod's network namespace: %w", context.Cause(ctx))
	}
}

// close closes the file, if there is one, when nobody makes or awaits it any more.
func (p pendingNetNS) close() {
	select {
	case ns := <-p:
		ns.Close()
	default:
	}
}
