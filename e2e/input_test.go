//go:build e2e

package e2e

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Each way to give a wrong request, token or key has its own sentence.
func TestWrongRequestsTokensAndKeysAreNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "process")
	w.createPool("inputs")
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, content string) string {
		if err := os.WriteFile(path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	run(t, nil, "openssl", "req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", path("weak.key"), "-out", path("weak.csr"), "-subj", "/CN=x")
	run(t, nil, "openssl", "req", "-new", "-newkey", "rsa:4096", "-nodes", "-keyout", path("other.key"), "-out", path("other.csr"), "-subj", "/CN=x")
	run(t, nil, "openssl", "rsa", "-in", path("other.key"), "-aes128", "-passout", "pass:secret", "-out", path("locked.key"))
	good, err := os.ReadFile(w.keyPath)
	if err != nil {
		t.Fatal(err)
	}

	api := []string{"SPACELIFT_API_KEY_ENDPOINT=" + w.http, "SPACELIFT_API_KEY_ID=" + w.keyID, "SPACELIFT_API_KEY_SECRET=" + w.secret}
	said := map[string]string{}
	for what, file := range map[string]string{
		"a broken request":                 write("broken.csr", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"),
		"a weak request":                   path("weak.csr"),
		"a key in place of the request":    path("other.key"),
		"no PEM in place of the request":   write("text.csr", "hello"),
		"an empty request":                 write("empty.csr", ""),
		"a request that isn't there":       path("none.csr"),
		"a directory in place of the file": dir,
	} {
		out, err := tryRun(api, binary(t, "spaceport"), "pool", "create", "--name", "wrong", "--csr", file)
		if err == nil {
			t.Errorf("%s made a pool: %s", what, out)
			continue
		}
		said[what] = err.Error()
	}
	launcher := func(token, key string) string {
		p := start(t, "wrong", []string{"SPACELIFT_TOKEN=" + token, "SPACELIFT_POOL_PRIVATE_KEY=" + key},
			binary(t, "spacelift-launcher"), "--data", path("launcher"), "--backend", "process")
		select {
		case <-p.done:
		case <-time.After(time.Minute):
			t.Fatalf("the launcher did not stop:\n%s", p.log)
		}
		if p.exitCode() == 0 {
			t.Errorf("the launcher ended with 0:\n%s", p.log)
		}
		return strings.TrimSpace(p.log.String())
	}
	b64 := func(name string) string {
		content, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(content)
	}
	key := base64.StdEncoding.EncodeToString(good)
	said["no token"] = launcher("", key)
	said["a token that is no base64"] = launcher("!!!", key)
	said["a token that is no JSON"] = launcher(base64.StdEncoding.EncodeToString([]byte("hello")), key)
	said["no key"] = launcher(w.token, "")
	said["a key that is no base64"] = launcher(w.token, "!!!")
	said["a weak key"] = launcher(w.token, b64("weak.key"))
	said["a key with a passphrase"] = launcher(w.token, b64("locked.key"))
	said["another pool's key"] = launcher(w.token, b64("other.key"))
	said["a request in place of the key"] = launcher(w.token, b64("other.csr"))

	seen := map[string]string{}
	for what, sentence := range said {
		lines := strings.Split(strings.TrimSpace(sentence), "\n")
		last := lines[len(lines)-1]
		if twin, ok := seen[last]; ok {
			t.Errorf("%s and %s are told apart by nothing: %s", what, twin, last)
		}
		seen[last] = what
		if strings.Contains(sentence, "panic") || strings.Contains(sentence, "goroutine") {
			t.Errorf("%s: %s", what, sentence)
		}
	}

	// Line-broken base64 is accepted, for both.
	broken := func(s string) string {
		var lines []string
		for len(s) > 64 {
			lines, s = append(lines, s[:64]), s[64:]
		}
		return strings.Join(append(lines, s), "\n")
	}
	start(t, "line-broken", []string{"SPACELIFT_TOKEN=" + broken(w.token), "SPACELIFT_POOL_PRIVATE_KEY=" + broken(key), "SPACELIFT_METADATA_name=line-broken"},
		binary(t, "spacelift-launcher"), "--data", path("accepted"), "--backend", "process")
	w.worker("line-broken")
}
