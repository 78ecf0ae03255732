package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"podlet/cri"
	"podlet/internal/image"
	"podlet/internal/network"
	"podlet/pod"
)

func serveCommand() *cobra.Command {
	o := defaultOptions()
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the CRI to a kubelet, crictl or critest",
		Long: `Serve the Container Runtime Interface on a unix socket until SIGTERM or SIGINT.

Pods outlive podlet: when it is stopped or killed they run on, and the next
podlet finds them. As a systemd unit it therefore wants KillMode=process.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.load(file, cmd.Flags()); err != nil {
				return err
			}
			return serve(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "TOML file with the same keys as these flags; a flag wins over it")
	o.flags(cmd.Flags())
	return cmd
}

// stopTime is how long calls that are under way may take after SIGTERM.
const stopTime = 5 * time.Second

func serve(ctx context.Context, o *options) (err error) {
	log, err := o.logger()
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	// Modes of what podlet makes are its own to say, whatever it was started with.
	unix.Umask(0o022)
	socket, err := o.socket()
	if err != nil {
		return err
	}
	listener, err := listen("listen", socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	images, err := image.Open(o.imagesDir())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	pinned, err := o.pinned()
	if err != nil {
		return err
	}
	images.SetPinned(pinned)
	puller, err := o.puller(images, log)
	if err != nil {
		return err
	}
	defer puller.Close()
	pods, closeNetwork, err := o.network(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeNetwork()) }()
	runtime, err := pod.Open(pod.Config{
		Root: o.Root, State: o.State, CgroupMount: "/sys/fs/cgroup", NetNSDir: network.DefaultDir, Durable: o.Durable, Images: images, Log: log,
		Network: pods,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, runtime.Close()) }()
	debug, err := serveDebug(o.State, images, puller, runtime, log)
	if err != nil {
		return err
	}
	defer debug.Close()
	defer o.importImages(ctx, images, log)()

	streams, err := o.streams(log)
	if err != nil {
		return err
	}
	defer streams.Close()
	defer context.AfterFunc(ctx, streams.Close)()

	server := (&cri.Server{Pods: runtime, Images: images, Puller: puller, Streams: streams, Log: log, Release: version, Life: ctx}).New()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("serving", "listen", o.Listen, "root", o.Root, "state", o.State, "version", version)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping; the pods live on")
	timer := time.AfterFunc(stopTime, server.Stop)
	defer timer.Stop()
	server.GracefulStop()
	return nil
}

// listen makes a unix socket, 0600, in place of one that an earlier podlet left. A socket that somebody serves is an error. Its path comes from the flag.
func listen(flag, path string) (net.Listener, error) {
	if served(path) {
		return nil, fmt.Errorf("--%s: another process serves the socket %s", flag, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// The mode has to be right from the first moment, and chmod would come a moment later.
	old := unix.Umask(0o177)
	defer unix.Umask(old)
	return net.Listen("unix", path)
}

// servedTime is how long a socket must go on answering until it counts as served: what was forked a moment ago may get no turn for a second on a busy machine.
const servedTime = 5 * time.Second

// served says whether a process serves the socket. A podlet that was killed as it was starting a program (a CNI plugin, most often) is survived
// for some milliseconds by that program, which has copies of all of podlet's files until its execve.
func served(path string) bool {
	for deadline := time.Now().Add(servedTime); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		conn.Close()
	}
	return true
}

func (o *options) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", o.LogLevel)
	}
	handler := &slog.HandlerOptions{Level: level}
	switch o.LogFormat {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, handler)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, handler)), nil
	default:
		return nil, fmt.Errorf("--log-format %q: want text or json", o.LogFormat)
	}
}
