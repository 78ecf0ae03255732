package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// A few lines of HTTP/1.0 instead of package net/http, which would be most of the image.

func split(addr string) (network, address string) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "unix", path
	}
	return "tcp", addr
}

func listen(args []string) error {
	if len(args) != 1 {
		return errors.New("want an address")
	}
	l, err := net.Listen(split(args[0]))
	if err != nil {
		return err
	}
	fmt.Println("listening on", l.Addr())
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(conn)
	}
}

// answer serves one request. A client that says nothing, as a TCP probe, gets nothing.
func answer(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(conn)
	request, err := r.ReadString('\n')
	if err != nil {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil || strings.TrimSpace(line) == "" {
			break
		}
	}
	body := []byte("ok\n")
	path := ""
	if f := strings.Fields(request); len(f) > 1 {
		path = f[1]
	}
	switch path {
	case "/show":
		body, _ = json.Marshal(look())
		body = append(body, '\n')
	case "/reset":
		// Without lingering, close(2) resets.
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		return
	}
	fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func get(args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("want an address, and perhaps a path")
	}
	path := "/"
	if len(args) == 2 {
		path = args[1]
	}
	network, address := split(args[0])
	conn, err := net.DialTimeout(network, address, 2*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
	all, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	head, body, ok := bytes.Cut(all, []byte("\r\n\r\n"))
	if !ok || !bytes.HasPrefix(head, []byte("HTTP/1.0 200 ")) {
		return fmt.Errorf("answer %q", head)
	}
	_, err = os.Stdout.Write(body)
	return err
}
