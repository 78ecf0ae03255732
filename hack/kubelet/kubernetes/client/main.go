// Command client does what people do with kubectl, with kubectl's own library (k8s.io/client-go), at a kubelet's API:
//
//	terminal                 exec a shell on a terminal whose window changes
//	cat BYTES                exec a command that gives back what it gets, and compare
//	attach SEND WANT         send a line to the container's own process and wait for a text
//	run COMMAND...           exec with stdin, stdout and stderr of this process
//	forward PORT COUNT       connections to a server that resets each one, through one session
//
// It prints a figure or two, and fails with the first thing that is not as it should be. It belongs to the kubelet's module, so that podlet's knows
// nothing of Kubernetes' libraries.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

// kubelet is one whose container is meant.
type kubelet struct {
	config                    *rest.Config
	api                       *url.URL
	namespace, pod, container string
	transport                 string
}

func main() {
	k := &kubelet{}
	address := flag.String("kubelet", "", "the kubelet's `URL`; its certificate may be anybody's")
	flag.StringVar(&k.namespace, "namespace", "default", "the pod's `namespace`")
	flag.StringVar(&k.pod, "pod", "", "the pod's `name`")
	flag.StringVar(&k.container, "container", "", "the container's `name`")
	flag.StringVar(&k.transport, "transport", spdy, "`one` of SPDY, v5 and v4: the last two are WebSockets, which the kubelet translates, or hands on as they are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := k.do(ctx, *address, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "client: %s over %s: %v\n", flag.Arg(0), k.transport, err)
		os.Exit(1)
	}
}

func (k *kubelet) do(ctx context.Context, address string, args []string) (err error) {
	if k.api, err = url.Parse(address); err != nil {
		return err
	}
	k.config = &rest.Config{Host: address, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	verbs := map[string]struct {
		args int // at least
		do   func(context.Context, []string) error
	}{"terminal": {0, k.terminal}, "cat": {1, k.cat}, "attach": {2, k.attach}, "run": {1, k.run}, "forward": {2, k.forward}}
	if len(args) == 0 || verbs[args[0]].do == nil || len(args) <= verbs[args[0]].args {
		return fmt.Errorf("arguments %q: want one of terminal, cat BYTES, attach SEND WANT, run COMMAND..., forward PORT COUNT", args)
	}
	return verbs[args[0]].do(ctx, args[1:])
}

// What -transport may say.
const (
	spdy        = "SPDY"
	webSocketV5 = "v5"
	webSocketV4 = "v4"
)

// executor begins a session with a container: "exec" of a command, or "attach".
func (k *kubelet) executor(verb string, streams remotecommand.StreamOptions, command ...string) (remotecommand.Executor, error) {
	// A kubelet's names for what Kubernetes' API calls stdin, stdout, stderr.
	query := url.Values{"command": command}
	for name, has := range map[string]bool{"input": streams.Stdin != nil, "output": streams.Stdout != nil, "error": streams.Stderr != nil, "tty": streams.Tty} {
		if has {
			query.Set(name, "1")
		}
	}
	u := k.api.JoinPath(verb, k.namespace, k.pod, k.container)
	u.RawQuery = query.Encode()
	switch k.transport {
	case spdy:
		return remotecommand.NewSPDYExecutor(k.config, http.MethodPost, u)
	case webSocketV5:
		return remotecommand.NewWebSocketExecutor(k.config, http.MethodGet, u.String())
	case webSocketV4:
		return remotecommand.NewWebSocketExecutorForProtocols(k.config, http.MethodGet, u.String(), "v4.channel.k8s.io")
	}
	return nil, fmt.Errorf("-transport %q: want SPDY, v5 or v4", k.transport)
}
