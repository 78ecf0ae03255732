package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/tools/portforward"
	clientspdy "k8s.io/client-go/transport/spdy"
)

// connectionTime is far more than a connection takes that is forwarded.
const connectionTime = 10 * time.Second

// dialer begins sessions of port-forward.
func (k *kubelet) dialer() (httpstream.Dialer, error) {
	u := k.api.JoinPath("portForward", k.namespace, k.pod)
	switch k.transport {
	case spdy:
		transport, upgrader, err := clientspdy.RoundTripperFor(k.config)
		if err != nil {
			return nil, err
		}
		return clientspdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u), nil
	case webSocketV5:
		return portforward.NewSPDYOverWebsocketDialer(u, k.config)
	}
	return nil, fmt.Errorf("-transport %q: port-forward wants SPDY or v5", k.transport)
}

// forward: one session outlives every connection that the app resets (kubernetes#74551). The app is what `probe listen` serves.
func (k *kubelet) forward(ctx context.Context, args []string) error {
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("how many connections: %w", err)
	}
	dialer, err := k.dialer()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan struct{})
	session, err := portforward.NewOnAddressesWithContext(ctx, dialer, []string{"127.0.0.1"}, []string{"0:" + args[0]}, ready, nil, os.Stderr)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- session.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		return fmt.Errorf("the session did not begin: %w", err)
	}
	ports, err := session.GetPorts()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0].Local)
	began := time.Now()
	for i := range count {
		if answer, err := ask(address, "/reset"); err != nil || answer != "" {
			return fmt.Errorf("connection %d, which the app resets: %q, %v", i, answer, err)
		}
	}
	took := time.Since(began)
	answer, err := ask(address, "/")
	if err != nil || !strings.HasSuffix(answer, "\r\n\r\nok\n") {
		return fmt.Errorf("a connection after %d that the app reset: %q, %v", count, answer, err)
	}
	select {
	case err := <-ended:
		return fmt.Errorf("the session ended after %d connections that the app reset: %v", count, err)
	default:
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the session's end: %w", err)
	}
	fmt.Printf("%d connections in %.1f s over %s\n", count, took.Seconds(), k.transport)
	return nil
}

// ask sends a request through the session and gives all that comes. A reset is an end.
func ask(address, path string) (string, error) {
	c, err := net.DialTimeout("tcp", address, connectionTime)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(connectionTime))
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	if errors.Is(err, syscall.ECONNRESET) {
		err = nil
	}
	return string(text), err
}
