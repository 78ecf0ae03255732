package registry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
)

// maxPEMBytes bounds one file of certificates: a distribution's whole bundle has some 200 kB.
const maxPEMBytes = 4 << 20

// tlsFiles is what a host's TLS is made of.
type tlsFiles struct {
	ca         []string
	client     [][2]string // certificate and key; one path twice where a file holds both
	skipVerify bool
}

func (f *tlsFiles) load(scheme string) (*tls.Config, error) {
	if scheme != "https" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.skipVerify}
	if len(f.ca) > 0 {
		// Besides the machine's own: a token server may be a public one.
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		for _, path := range f.ca {
			data, err := readPEM(path)
			if err != nil {
				return nil, fmt.Errorf("ca: %w", err)
			}
			if !pool.AppendCertsFromPEM(data) {
				return nil, fmt.Errorf("ca: %s holds no PEM certificate", path)
			}
		}
		c.RootCAs = pool
	}
	for _, pair := range f.client {
		cert, err := readPEM(pair[0])
		if err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		key, err := readPEM(pair[1])
		if err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		loaded, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("client: %s and %s: %w", pair[0], pair[1], err)
		}
		c.Certificates = append(c.Certificates, loaded)
	}
	return c, nil
}

func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPEMBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPEMBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxPEMBytes)
	}
	return data, nil
}
