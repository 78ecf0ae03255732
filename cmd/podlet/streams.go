package main

import (
	"crypto/tls"
	"errors"
	"log/slog"

	"podlet/internal/streaming"
)

// streams serves exec, attach and port-forward.
func (o *options) streams(log *slog.Logger) (*streaming.Server, error) {
	certificate, err := o.streamTLS()
	if err != nil {
		return nil, err
	}
	config := streaming.Config{Address: o.StreamAddress, Log: log}
	if certificate != nil {
		certificate.log = log
		config.TLS = &tls.Config{GetCertificate: certificate.get}
	}
	return streaming.Listen(config)
}

// streamTLS is nil where streams are to have none.
func (o *options) streamTLS() (*streamCertificate, error) {
	if (o.StreamCert == "") != (o.StreamKey == "") {
		return nil, errors.New("--stream-tls-cert and --stream-tls-key belong together")
	}
	if o.StreamCert == "" {
		return nil, nil
	}
	c := &streamCertificate{cert: o.StreamCert, key: o.StreamKey, log: slog.New(slog.DiscardHandler)}
	if _, err := c.get(nil); err != nil {
		return nil, err
	}
	return c, nil
}
