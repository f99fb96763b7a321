package seal

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"strings"
)

// CSR is what is taken from a certificate signing request: the public key and
// nothing else. Subject and extensions are whatever somebody typed.
type CSR struct {
	// Public is the pool's public key, RSA of 2048 to 8192 bits.
	Public *rsa.PublicKey
	// Fingerprint is "sha256:" and the hex SHA-256 of its SPKI DER.
	Fingerprint string
}

const csrHint = "make one as by: openssl req -new -newkey rsa:4096 -nodes -keyout spacelift.key -out spacelift.csr"

// ParseCSR reads a signing request: PEM, or the base64, possibly broken into
// lines, of the PEM. Faults: invalid.csr_{empty, base64, pem, broken, signature,
// type, weak, private_key, certificate}.
func ParseCSR(text string) (*CSR, error) {
	if strings.TrimSpace(text) == "" {
		return nil, invalid("csr_empty", "the certificate signing request is empty").WithHint(csrHint)
	}
	if len(text) > maxText {
		return nil, invalid("csr_pem", "the certificate signing request is longer than any request is")
	}
	data, ok := unwrapPEM(text)
	if !ok {
		return nil, invalid("csr_base64", "the certificate signing request is neither PEM nor base64").WithHint(csrHint)
	}
	der, err := csrBlock(data)
	if err != nil {
		return nil, err
	}
	req, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, invalidBy(err, "csr_broken", "the certificate signing request cannot be read: its PEM block holds something else").
			WithHint("check it as by: openssl req -in spacelift.csr -noout -verify")
	}
	return checkCSR(req)
}

// csrBlock finds the request in a PEM file. A private key anywhere in it ends
// the matter first: it has just left its owner's machine, and they must hear so.
func csrBlock(data []byte) ([]byte, error) {
	blocks := blocksOf(data)
	for _, b := range blocks {
		if strings.HasSuffix(b.Type, "PRIVATE KEY") {
			return nil, invalid("csr_private_key", "a private key was sent where the certificate signing request belongs; it has not been kept").
				WithHint("consider that key disclosed, make a new one, and send the .csr file: %s", csrHint)
		}
	}
	for _, b := range blocks {
		switch b.Type {
		case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
			return b.Bytes, nil
		}
	}
	for _, b := range blocks {
		if strings.HasSuffix(b.Type, "CERTIFICATE") {
			return nil, invalid("csr_certificate", "this is a certificate, not a certificate signing request").WithHint(csrHint)
		}
	}
	return nil, invalid("csr_pem", "this holds no certificate signing request").
		WithHint("a request begins with -----BEGIN CERTIFICATE REQUEST-----; %s", csrHint)
}

func checkCSR(req *x509.CertificateRequest) (*CSR, error) {
	pub, ok := req.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, invalid("csr_type", "the certificate signing request is for a %s key, and only RSA is supported", req.PublicKeyAlgorithm).WithHint(csrHint)
	}
	// Size first: checking a signature by an absurdly large key is itself costly.
	if bits := pub.N.BitLen(); bits < minRSABits {
		return nil, invalid("csr_weak", "the certificate signing request is for an RSA key of %d bits, and at least %d are needed", bits, minRSABits).WithHint(csrHint)
	} else if bits > maxRSABits {
		return nil, invalid("csr_type", "the certificate signing request is for an RSA key of %d bits, and at most %d are supported", bits, maxRSABits).WithHint(csrHint)
	}
	if err := req.CheckSignature(); err != nil {
		var old x509.InsecureAlgorithmError
		if errors.As(err, &old) {
			return nil, invalidBy(err, "csr_signature", "the certificate signing request is signed by an outdated method (%s)", req.SignatureAlgorithm).
				WithHint("add -sha256 to the openssl command")
		}
		return nil, invalidBy(err, "csr_signature", "the certificate signing request is not signed by the key it names").
			WithHint("the file was altered or damaged; %s", csrHint)
	}
	fingerprint, err := FingerprintOf(pub)
	if err != nil {
		return nil, invalidBy(err, "csr_broken", "the certificate signing request's key cannot be read")
	}
	return &CSR{Public: pub, Fingerprint: fingerprint}, nil
}
