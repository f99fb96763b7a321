package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"strings"
	"sync"
)

// BrokerTLS returns the broker's TLS configuration: our certificate for hosts
// (names or addresses), renewed in place at half of its life, and clients only
// with a worker certificate of ours.
func (a *Authority) BrokerTLS(hosts []string) (*tls.Config, error) {
	if len(hosts) == 0 {
		return nil, errors.New("broker certificate: no host")
	}
	clients := x509.NewCertPool()
	clients.AddCert(a.caCert)
	r := &renewing{authority: a, hosts: hosts}
	if _, err := r.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: r.get,
		ClientAuth:     tls.RequireAndVerifyClientCert,
		ClientCAs:      clients,
		Time:           a.now,
		// A resumed session would skip what is checked of the certificate at
		// connect: that it has not expired meanwhile.
		SessionTicketsDisabled: true,
	}, nil
}

// renewing is a server certificate that is made anew at half of its life.
type renewing struct {
	authority *Authority
	hosts     []string

	mu   sync.Mutex
	cert *tls.Certificate
}

func (r *renewing) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.authority.now()
	// A clock that went far back makes the certificate not yet valid: renew too.
	if r.cert != nil && now.After(r.cert.Leaf.NotBefore) && now.Before(r.cert.Leaf.NotBefore.Add(brokerRenewAge)) {
		return r.cert, nil
	}
	cert, err := r.authority.serverCertificate(r.hosts)
	if err != nil {
		return nil, err
	}
	r.cert = cert
	return cert, nil
}

func (a *Authority) serverCertificate(hosts []string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Spaceport broker"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(strings.Trim(h, "[]")); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	cert, err := a.issue(t, &key.PublicKey, brokerLife)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw, a.caCert.Raw}, PrivateKey: key, Leaf: cert}, nil
}
