package rootca

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Roots are certificates that are believed beside the system's.
type Roots struct{ certificates []*x509.Certificate }

// maxRoots bounds what is read as certificates, in bytes.
const maxRoots = 4 << 20

// Parse reads the value of ADDITIONAL_ROOT_CAS: base64 of the JSON object
// {"caCertificates": ["base64 of PEM", …]}, that JSON itself, PEM, base64 of PEM, or
// the absolute path of a file with one of these.
func Parse(value string, readFile func(string) ([]byte, error)) (*Roots, error) {
	value = strings.TrimSpace(value)
	if !filepath.IsAbs(value) || strings.Contains(value, "\n") {
		return parse([]byte(value), "this")
	}
	// Base64 may begin with a slash, but no certificate's does.
	data, err := readFile(value)
	if err != nil {
		return nil, fmt.Errorf("the file %s cannot be read", value)
	}
	return parse(data, "the file "+value)
}

func parse(data []byte, what string) (*Roots, error) {
	if len(data) > maxRoots {
		return nil, fmt.Errorf("%s is longer than %d bytes", what, maxRoots)
	}
	data = bytes.TrimSpace(data)
	if decoded, ok := unbase64(data); ok {
		data = bytes.TrimSpace(decoded)
	}
	r := &Roots{}
	if bytes.HasPrefix(data, []byte("{")) {
		var object struct {
			Certificates []string `json:"caCertificates"`
		}
		if err := json.Unmarshal(data, &object); err != nil {
			return nil, fmt.Errorf(`%s is not JSON of the form {"caCertificates": ["<base64 of PEM>"]}`, what)
		}
		for i, text := range object.Certificates {
			one := []byte(text)
			if decoded, ok := unbase64(one); ok {
				one = decoded
			}
			if err := r.add(one); err != nil {
				return nil, fmt.Errorf("%s: caCertificates[%d] %w", what, i, err)
			}
		}
		if len(object.Certificates) == 0 {
			return nil, fmt.Errorf("%s has no certificate in its caCertificates", what)
		}
		return r, nil
	}
	if err := r.add(data); err != nil {
		return nil, fmt.Errorf("%s %w", what, err)
	}
	return r, nil
}

func unbase64(data []byte) ([]byte, bool) {
	if bytes.Contains(data, []byte("-----")) || bytes.HasPrefix(data, []byte("{")) {
		return nil, false
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), ""))
	return decoded, err == nil
}

// add reads certificates in PEM, or one in DER.
func (r *Roots) add(data []byte) error {
	if cert, err := x509.ParseCertificate(data); err == nil {
		r.certificates = append(r.certificates, cert)
		return nil
	}
	found := 0
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			return fmt.Errorf("holds a %s where certificates should be", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("has a certificate that cannot be read (number %d)", found+1)
		}
		found++
		r.certificates = append(r.certificates, cert)
	}
	if found == 0 {
		return errors.New("has no certificate in PEM")
	}
	return nil
}

// Certificates returns them; nil Roots have none.
func (r *Roots) Certificates() []*x509.Certificate {
	if r == nil {
		return nil
	}
	return r.certificates
}

// PEM returns them in PEM.
func (r *Roots) PEM() []byte {
	var b bytes.Buffer
	for _, cert := range r.Certificates() {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a buffer takes all
	}
	return b.Bytes()
}

// Expired describes those that are not valid at a time.
func (r *Roots) Expired(now time.Time) []string {
	var all []string
	for _, cert := range r.Certificates() {
		switch {
		case now.After(cert.NotAfter):
			all = append(all, fmt.Sprintf("%s expired on %s", Name(cert), cert.NotAfter.UTC().Format(time.DateOnly)))
		case now.Before(cert.NotBefore):
			all = append(all, fmt.Sprintf("%s is not valid before %s", Name(cert), cert.NotBefore.UTC().Format(time.DateOnly)))
		}
	}
	return all
}

// Name is what people know a certificate by.
func Name(cert *x509.Certificate) string {
	if name := cert.Subject.String(); name != "" {
		return name
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(cert.Raw))
}
