package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"

	"podlet/internal/streaming"
)

// streams serves exec, attach and port-forward.
func (o *options) streams(log *slog.Logger) (*streaming.Server, error) {
	config := streaming.Config{Address: o.StreamAddress, Log: log}
	if (o.StreamCert == "") != (o.StreamKey == "") {
		return nil, fmt.Errorf("--stream-tls-cert and --stream-tls-key belong together")
	}
	if o.StreamCert != "" {
		if _, err := o.streamCertificate(nil); err != nil {
			return nil, err
		}
		config.TLS = &tls.Config{GetCertificate: o.streamCertificate}
	}
	return streaming.Listen(config)
}

// streamCertificate reads the files for each connection: whoever renews certificates need not know podlet.
func (o *options) streamCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(o.StreamCert, o.StreamKey)
	if err != nil {
		return nil, fmt.Errorf("certificate of --stream-address: %w", err)
	}
	return &pair, nil
}
