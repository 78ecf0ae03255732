package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
)

// streamCertificate reads its files for each connection: whoever renews certificates need not know podlet. Where they don't load, half renewed or broken, the
// pair that did last serves on.
type streamCertificate struct {
	cert, key string
	log       *slog.Logger

	mu struct {
		sync.Mutex
		last   *tls.Certificate // nil: none has loaded yet
		warned string           // the error that was logged last, "" from the next pair that loads on
	}
}

// get is tls.Config's GetCertificate.
func (c *streamCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err == nil {
		c.mu.last, c.mu.warned = &pair, ""
		return &pair, nil
	}
	if c.mu.last == nil {
		return nil, fmt.Errorf("certificate of --stream-address: %w", err)
	}
	if c.mu.warned != err.Error() {
		c.mu.warned = err.Error()
		c.log.Warn("the certificate of --stream-address does not load: the one before serves on", "certificate", c.cert, "key", c.key, "error", err)
	}
	return c.mu.last, nil
}
