package registry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// maxPEMBytes bounds one file of certificates: a distribution's whole bundle has some 200 kB.
const maxPEMBytes = 4 << 20

// TLSFiles is what a host's TLS is made of.
type TLSFiles struct {
	CA         []string    // besides the machine's own
	Client     [][2]string // certificate and key; one path twice where a file holds both
	SkipVerify bool
}

func (f *TLSFiles) load(scheme string) (*tls.Config, error) {
	if scheme != "https" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: f.SkipVerify}
	if len(f.CA) > 0 {
		// Besides the machine's own: a token server may be a public one.
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		for _, path := range f.CA {
			data, err := readBounded(path, maxPEMBytes)
			if err != nil {
				return nil, fmt.Errorf("ca: %w", err)
			}
			if !pool.AppendCertsFromPEM(data) {
				return nil, fmt.Errorf("ca: %s holds no PEM certificate", path)
			}
		}
		c.RootCAs = pool
	}
	for _, pair := range f.Client {
		cert, err := readBounded(pair[0], maxPEMBytes)
		if err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		key, err := readBounded(pair[1], maxPEMBytes)
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
