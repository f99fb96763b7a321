package seal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "make the vectors anew")

const vectorState = `{"version":4,"serial":7,"lineage":"test"}` + "\n"

func vector(t testing.TB, name string) []byte { t.Helper(); return read(t, "vectors", name) }

// TestVectorsAreStillRead opens what an earlier release has written.
func TestVectorsAreStillRead(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	t.Parallel()
	for _, size := range []string{"2048", "4096"} {
		t.Run("a workspace of a key of "+size+" bits", func(t *testing.T) {
			k := key(t, "pool"+size+".key")
			blob := bytes.NewReader(vector(t, "workspace"+size+".sealed"))
			want := expectation()
			want.Recipients = []string{k.Fingerprint()}
			s, err := VerifySealed(vector(t, "workspace"+size+".statement"), vector(t, "workspace"+size+".sig"), []*rsa.PublicKey{k.Public()}, want, blob)
			check(t, err)
			if s.Attempt != 2 || s.Signer != k.Fingerprint() {
				t.Errorf("got %+v", s)
			}
			dir, into := trees(t)
			check(t, OpenTree(context.Background(), blob, into, UnpackOptions{}, k.Identity()))
			if got, err := os.ReadFile(filepath.Join(dir, "workspace/source/main.tf")); err != nil || string(got) != "resource {}" {
				t.Errorf("got %q, %v", got, err)
			}
			if got, err := os.Readlink(filepath.Join(dir, "workspace/link")); err != nil || got != "source/main.tf" {
				t.Errorf("got %q, %v", got, err)
			}
		})
		t.Run("a state of a key of "+size+" bits", func(t *testing.T) {
			_, ids := recovery(t)
			for _, id := range append(ids, key(t, "pool"+size+".key").Identity()) {
				got, err := OpenBytes(vector(t, "state"+size+".sealed"), id)
				check(t, err)
				if string(got) != vectorState {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	t.Run("a token", func(t *testing.T) {
		token, err := ParseToken(string(vector(t, "token.txt")))
		check(t, err)
		check(t, key(t, "pool2048.key").Matches(token.PoolCertificate()))
		if token.Encode() != string(vector(t, "token.txt")) {
			t.Error("the same token has other bytes today")
		}
	})
	t.Run("a job's header", func(t *testing.T) {
		h, err := VerifyJob([]ed25519.PublicKey{jobKey().Public().(ed25519.PublicKey)}, vector(t, "job.header"), vector(t, "job.sig"))
		check(t, err)
		if *h != testHeader([]byte("sealed job")) {
			t.Errorf("got %+v", h)
		}
	})
	t.Run("a bundle", func(t *testing.T) {
		var signed SignedBundle
		check(t, json.Unmarshal(vector(t, "bundle.json"), &signed))
		b, err := OpenBundle(signed, []*x509.Certificate{certificate(t, "root.crt")}, testOrigin)
		check(t, err)
		if b.APIEndpoint != "https://spaceport.example" {
			t.Errorf("got %+v", b)
		}
	})
	t.Run("a registration", func(t *testing.T) {
		c, err := ParseRegistration(string(vector(t, "registration.jws")), certificate(t, "pool2048.crt"))
		check(t, err)
		check(t, c.Check(testOrigin, testPool, "n0nce"))
	})
	t.Run("a job core", func(t *testing.T) {
		var c Core
		c.Add("commit", "0123abcd")
		c.Add("hook", "before_init", "echo one\necho two", "")
		const want = "sha256:e5a14d8c39c43e29e53e8e35687c60232f337501810b62c19117f6b232b969e4"
		if got := c.Digest(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func writeVectors(t *testing.T) {
	t.Helper()
	put := func(name string, data []byte) {
		check(t, os.WriteFile(filepath.Join("testdata/vectors", name), data, 0o644))
	}
	check(t, os.MkdirAll("testdata/vectors", 0o755))
	rs, _ := recovery(t)
	for _, size := range []string{"2048", "4096"} {
		k := key(t, "pool"+size+".key")
		dir, from := trees(t)
		check(t, os.MkdirAll(filepath.Join(dir, "workspace/source"), 0o755))
		check(t, os.WriteFile(filepath.Join(dir, "workspace/source/main.tf"), []byte("resource {}"), 0o644))
		check(t, os.Symlink("source/main.tf", filepath.Join(dir, "workspace/link")))
		blob, err := os.Create(filepath.Join("testdata/vectors", "workspace"+size+".sealed"))
		check(t, err)
		all := append([]Recipient{k.Recipient()}, rs...)
		digest, length, err := SealTree(context.Background(), blob, from, PackOptions{}, all...)
		check(t, err)
		check(t, blob.Close())
		s := workspaceStatement(k, nil)
		s.Ciphertext, s.Size, s.Recipients = digest, length, Fingerprints(all)
		data, sig := sign(t, k, s)
		put("workspace"+size+".statement", data)
		put("workspace"+size+".sig", sig)
		state, err := SealBytes([]byte(vectorState), all...)
		check(t, err)
		put("state"+size+".sealed", state)
	}
	put("token.txt", []byte(testToken(t).Encode()))
	header, err := testHeader([]byte("sealed job")).Marshal()
	check(t, err)
	sig, err := SignJob(jobKey(), header)
	check(t, err)
	put("job.header", header)
	put("job.sig", sig)
	signed, err := SignBundle(rootKey(t), testBundle())
	check(t, err)
	bundle, err := json.Marshal(signed)
	check(t, err)
	put("bundle.json", bundle)
	jws, err := SignRegistration(key(t, "pool2048.key"), testClaims(t))
	check(t, err)
	put("registration.jws", []byte(jws))
}

// stock runs a tool that knows nothing of us. A missing one is a failure: what it
// witnesses would go unwitnessed.
func stock(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed; make test installs it: %v", name, err)
	}
	cmd := exec.Command(path, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}

func TestOpensslVerifiesAStatement(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"2048", "4096"} {
		k := key(t, "pool"+size+".key")
		dir := t.TempDir()
		statement, sig := sign(t, k, workspaceStatement(k, []byte("blob")))
		check(t, os.WriteFile(dir+"/statement", statement, 0o600))
		check(t, os.WriteFile(dir+"/sig", sig, 0o600))
		check(t, os.WriteFile(dir+"/pub", stock(t, "openssl", "pkey", "-in", "testdata/keys/pool"+size+".key", "-pubout"), 0o600))
		verify := []string{"dgst", "-sha256", "-verify", dir + "/pub", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32", "-sigopt", "rsa_mgf1_md:sha256", "-signature", dir + "/sig"}
		if out := stock(t, "openssl", append(verify, dir+"/statement")...); !bytes.Contains(out, []byte("Verified OK")) {
			t.Errorf("openssl says %s", out)
		}
		check(t, os.WriteFile(dir+"/altered", append(statement, '\n'), 0o600))
		if out, err := exec.Command("openssl", append(verify, dir+"/altered")...).CombinedOutput(); err == nil {
			t.Errorf("openssl accepts an altered statement: %s", out)
		}
	}
}

func TestStockAgeOpensWhatWeSeal(t *testing.T) {
	t.Parallel()
	k := key(t, "pool4096.key")
	rs, _ := recovery(t)
	all := append([]Recipient{k.Recipient()}, rs...)
	dir := t.TempDir()
	state, err := SealBytes([]byte(vectorState), all...)
	check(t, err)
	check(t, os.WriteFile(dir+"/state", state, 0o600))
	from, packed := trees(t)
	fill(t, from)
	blob, err := os.Create(dir + "/workspace")
	check(t, err)
	_, _, err = SealTree(context.Background(), blob, packed, PackOptions{}, all...)
	check(t, err)
	check(t, blob.Close())
	for _, name := range []string{"pool4096.key", "recovery-age.key", "recovery-ssh.key"} {
		// age asks for a key file that nobody else reads.
		identity := filepath.Join(dir, name)
		check(t, os.WriteFile(identity, read(t, "keys", name), 0o600))
		if got := stock(t, "age", "-d", "-i", identity, dir+"/state"); string(got) != vectorState {
			t.Errorf("%s: got %q", name, got)
		}
		into := filepath.Join(dir, "into-"+name)
		check(t, os.Mkdir(into, 0o700))
		stock(t, "sh", "-ec", `age -d -i "$1" "$2" | zstd -dc | tar xf - -C "$3"`, "sh", identity, dir+"/workspace", into)
		t.Cleanup(func() { _ = os.Chmod(into+"/workspace/readonly", 0o755) })
		for _, file := range []string{"workspace/source/.terraform/a/provider", "workspace/readonly/f", "workspace/na\xffme with\nbreak", "carry/job.json"} {
			want, err := os.ReadFile(filepath.Join(from, file))
			check(t, err)
			if got, err := os.ReadFile(filepath.Join(into, file)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %q: %v", name, file, err)
			}
		}
	}
}

func TestWeOpenWhatStockAgeSeals(t *testing.T) {
	t.Parallel()
	k := key(t, "pool2048.key")
	dir := t.TempDir()
	check(t, os.WriteFile(dir+"/key", read(t, "keys", "pool2048.key"), 0o600))
	check(t, os.WriteFile(dir+"/plain", []byte("by hand"), 0o600))
	line := stock(t, "ssh-keygen", "-y", "-f", dir+"/key")
	stock(t, "age", "-r", strings.TrimSpace(string(line)), "-o", dir+"/sealed", dir+"/plain")
	sealed, err := os.ReadFile(dir + "/sealed")
	check(t, err)
	if got, err := OpenBytes(sealed, k.Identity()); err != nil || string(got) != "by hand" {
		t.Errorf("got %q, %v", got, err)
	}
}
