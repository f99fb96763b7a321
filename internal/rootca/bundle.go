package rootca

import (
	"bytes"
	"os"
)

// system are the places where systems keep their bundle, as crypto/x509 has them.
var system = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
}

// SystemBundle returns the PEM bundle of this system, or nothing where there is
// none. named, if not empty, stands in for the usual places, as SSL_CERT_FILE does.
func SystemBundle(named string) []byte {
	places := system
	if named != "" {
		places = []string{named}
	}
	for _, path := range places {
		if data, err := os.ReadFile(path); err == nil {
			return data
		}
	}
	return nil
}

// BundleNames are the variables by which programs are told of a bundle: OpenSSL, Go
// and many others, curl, git, Python's requests, pip, the AWS and Google Cloud command lines, and Node.
var BundleNames = []string{
	"SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "PIP_CERT", "AWS_CA_BUNDLE",
	"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "NODE_EXTRA_CA_CERTS",
}

// Join puts bundles one after another.
func Join(bundles ...[]byte) []byte {
	var all []byte
	for _, b := range bundles {
		if b = bytes.TrimSpace(b); len(b) > 0 {
			all = append(append(all, b...), '\n')
		}
	}
	return all
}
