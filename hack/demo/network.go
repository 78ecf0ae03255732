package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// network shows that node and pod reach each other over the bridge, in each family.
func network(ctx context.Context, p *page, pod *pair) error {
	p.title("The pod's network: bridge " + bridge)
	for i, ip := range pod.ips {
		at := "http://" + net.JoinHostPort(ip, "8080") + "/"
		body, err := fetch(ctx, at)
		p.line("node$ curl %s: %s", at, body)
		p.check(err == nil && body == greeting, "the node reaches the pod at %s%s", ip, because(err))
		heard, err := pod.callsNode(ctx, pod.gateways[i])
		p.check(err == nil && heard == ip, "the pod reaches the node at %s, which sees it as %s%s", pod.gateways[i], heard, because(err))
	}
	return nil
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func fetch(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	// No proxy of the caller's is to be asked for a pod's page.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: lineTime}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	return strings.TrimSpace(string(body)), err
}

// callsNode listens on one of the node's addresses, has client connect, and gives the address that it comes from.
func (pod *pair) callsNode(ctx context.Context, gateway string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(gateway, "0"))
	if err != nil {
		return "", err
	}
	defer l.Close()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(lineTime))
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", err
	}
	failed := make(chan error, 1)
	go func() {
		answer, err := pod.run(ctx, pod.client, fmt.Sprintf("nc %s %s < /dev/null", gateway, port))
		if err == nil && answer.ExitCode != 0 {
			err = fmt.Errorf("nc ended with %d: %s", answer.ExitCode, answer.Stderr)
			l.Close()
		}
		failed <- err
	}()
	c, err := l.Accept()
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, <-failed)
	}
	defer c.Close()
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return "", err
	}
	c.Close()
	return host, <-failed
}
