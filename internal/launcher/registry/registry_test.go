package registry

import (
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/authconfig"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// setup writes a configuration and helpers, scripts by their names.
func setup(t *testing.T, config string, helpers map[string]string) *Credentials {
	t.Helper()
	dir, bin := t.TempDir(), t.TempDir()
	if config != "" {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range helpers {
		if err := os.WriteFile(filepath.Join(bin, "docker-credential-"+name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c, err := New(Options{Dir: dir, Environ: []string{"PATH=" + bin + ":/usr/bin:/bin", "MARK=seen"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// decoded is user:password or token of a header, "" for none.
func decoded(t *testing.T, header string) string {
	t.Helper()
	if header == "" {
		return ""
	}
	a, err := authconfig.Decode(header)
	if err != nil {
		t.Fatal(err)
	}
	if a.IdentityToken != "" {
		return "token " + a.IdentityToken
	}
	return a.Username + ":" + a.Password
}

func TestCredentialsAreFoundAsTheDockerCommandFindsThem(t *testing.T) {
	t.Parallel()
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	c := setup(t, `{
		"auths": {
			"plain.test:5000": {"auth": "`+b64("plain:p1:x")+`"},
			"https://address.test/v1/": {"auth": "`+b64("address:p2")+`"},
			"https://index.docker.io/v1/": {"auth": "`+b64("hub:p3")+`"},
			"token.test": {"identitytoken": "p4"},
			"empty.test": {},
			"both.test": {"auth": "`+b64("file:no")+`"}
		},
		"credHelpers": {"helped.test": "mine", "both.test": "mine", "tokened.test": "token", "unknown.test": "nothing"},
		"someNewerField": {"a": 1}
	}`, map[string]string{
		"mine":    `read host; [ "$1 $MARK" = "get seen" ] && echo '{"ServerURL":"'$host'","Username":"for-'$host'","Secret":"p5"}'`,
		"token":   `echo '{"Username":"<token>","Secret":"p6"}'`,
		"nothing": `echo "credentials not found in native keychain"; exit 1`,
	})
	for host, want := range map[string]string{
		"plain.test:5000": "plain:p1:x", "address.test": "address:p2", "docker.io": "hub:p3", "token.test": "token p4", "empty.test": "",
		"both.test": "for-both.test:p5", "helped.test": "for-helped.test:p5", "tokened.test": "token p6", "unknown.test": "", "stranger.test": "", "plain.test": "",
	} {
		header, err := c.Header(t.Context(), host)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		if got := decoded(t, header); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

func TestAStoreIsAskedForEachRegistryAndTheFileBehindIt(t *testing.T) {
	t.Parallel()
	c := setup(t, `{"credsStore": "store", "auths": {"filed.test": {"auth": "YTpi"}, "stored.test": {}}}`, map[string]string{
		"store": `read host; case $host in stored.test) echo '{"Username":"u","Secret":"s"}' ;; *) echo "credentials not found in native keychain"; exit 1 ;; esac`,
	})
	for host, want := range map[string]string{"stored.test": "u:s", "filed.test": "a:b", "other.test": ""} {
		if header, err := c.Header(t.Context(), host); err != nil || decoded(t, header) != want {
			t.Errorf("%s: got %q, %v", host, decoded(t, header), err)
		}
	}
}

func TestALaterLoginCountsAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	c := setup(t, "", nil)
	if header, err := c.Header(t.Context(), "a.test"); err != nil || header != "" {
		t.Fatalf("got %q, %v", header, err)
	}
	path := filepath.Join(c.o.Dir, "config.json")
	if err := os.WriteFile(path, []byte(`{"auths":{"a.test":{"auth":"YTpi"}}}`), 0o400); err != nil {
		t.Fatal(err)
	}
	before := listing(t, c.o.Dir)
	if header, err := c.Header(t.Context(), "a.test"); err != nil || decoded(t, header) != "a:b" {
		t.Fatalf("got %q, %v", header, err)
	}
	if after := listing(t, c.o.Dir); after != before {
		t.Errorf("the directory was %s and is %s", before, after)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, path, st.Mode(), st.Size(), st.ModTime())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAFailureIsOneSentenceWithoutWhatTheHelperSaid(t *testing.T) {
	t.Parallel()
	c := setup(t, `{"credHelpers": {"fails.test": "fails", "garbage.test": "garbage", "floods.test": "floods", "missing.test": "missing", "path.test": "../x"}}`, map[string]string{
		"fails":   "echo canary-1; echo canary-2 >&2; exit 3",
		"garbage": `echo '{"Secret": canary-3'`,
		"floods":  `head -c 2000000 /dev/zero | tr '\0' ' '; echo '{"Username":"u","Secret":"canary-4"}'`, // an answer, were it not so long
	})
	for host, code := range map[string]fault.Code{
		"fails.test": "forbidden.credential_helper", "garbage.test": "forbidden.credential_helper", "floods.test": "forbidden.credential_helper",
		"missing.test": "not_found.credential_helper", "path.test": "invalid.docker_config",
	} {
		_, err := c.Header(t.Context(), host)
		if f := fault.As(err); f == nil || f.Code != code || code != "invalid.docker_config" && !strings.Contains(err.Error(), host) {
			t.Errorf("%s: got %v", host, err)
			continue
		}
		for e := error(err); e != nil; {
			if strings.Contains(e.Error(), "canary") || strings.Contains(e.Error(), "\n") {
				t.Errorf("%s: %v", host, e)
			}
			u, ok := e.(interface{ Unwrap() error })
			if !ok {
				break
			}
			e = u.Unwrap()
		}
	}
}

func TestAHelperThatHangsIsEnded(t *testing.T) {
	t.Parallel()
	began := filepath.Join(t.TempDir(), "began")
	c := setup(t, `{"credsStore": "hangs"}`, map[string]string{"hangs": "mkfifo " + began + ".fifo; touch " + began + "; read x <" + began + ".fifo"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.Header(ctx, "a.test")
		done <- err
	}()
	for {
		if _, err := os.Stat(began); err == nil {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("the helper was not run: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; !fault.Is(err, fault.Unavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestADirectoryThatCannotBeUsedIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	bad := t.TempDir()
	for path, content := range map[string]string{file: "", filepath.Join(bad, "config.json"): `{"auths": {"a": "canary"`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{
		"/nowhere/docker": "the directory /nowhere/docker of registry credentials cannot be read",
		file:              file + " is not a directory",
		bad:               bad + "/config.json is not a Docker configuration file",
	} {
		if _, err := New(Options{Dir: dir}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v", dir, err)
		}
	}
}

func TestRegistriesOfAmazonAreKnownByTheirNames(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"012345678901.dkr.ecr.eu-west-1.amazonaws.com":           "eu-west-1 false",
		"012345678901.dkr.ecr-fips.us-gov-west-1.amazonaws.com":  "us-gov-west-1 true",
		"012345678901.dkr.ecr.cn-north-1.amazonaws.com.cn":       "cn-north-1 false",
		"012345678901.dkr-ecr.eu-west-1.on.aws":                  "eu-west-1 false",
		"public.ecr.aws":                                         "",
		"12345678901.dkr.ecr.eu-west-1.amazonaws.com":            "",
		"012345678901.dkr.ecr.eu-west-1.amazonaws.com.evil.test": "",
		"x012345678901.dkr.ecr.eu-west-1.amazonaws.com":          "",
		"012345678901.dkr.ecr.eu-west-1.evil.test/amazonaws.com": "",
	} {
		got := ""
		if r, ok := ecrRegistry(host); ok {
			got = fmt.Sprint(r.region, " ", r.fips)
		}
		if got != want {
			t.Errorf("%s: got %q", host, got)
		}
	}
}

// instance stands in for the metadata of an EC2 instance with a role, and for the
// ECR of a region.
func instance(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) {
	t.Helper()
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			_, _ = fmt.Fprint(w, "metadata-token")
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "metadata-token":
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasSuffix(r.URL.Path, "/iam/security-credentials/") || strings.HasSuffix(r.URL.Path, "/iam/security-credentials-extended/"):
			_, _ = fmt.Fprint(w, "worker-role")
		case strings.HasSuffix(r.URL.Path, "/worker-role"):
			_, _ = fmt.Fprintf(w, `{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"AKIDROLE","SecretAccessKey":"canary-role","Token":"canary-session","Expiration":%q}`,
				time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(metadata.Close)
	registry := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(registry.Close)
	for name, value := range map[string]string{
		"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.URL, "AWS_ENDPOINT_URL_ECR": registry.URL, "AWS_EC2_METADATA_DISABLED": "",
		"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "",
		"HTTP_PROXY": "", "http_proxy": "",
	} {
		t.Setenv(name, value)
	}
}

const ecrOfTest = "012345678901.dkr.ecr.eu-west-1.amazonaws.com"

func TestAnECRTokenComesByTheInstancesRole(t *testing.T) {
	asked := make(chan string, 9)
	instance(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("X-Amz-Target") + " " + r.Header.Get("Authorization") + " " + r.Header.Get("X-Amz-Security-Token")
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"proxyEndpoint":"https://%s"}]}`, base64.StdEncoding.EncodeToString([]byte("AWS:registry-token")), ecrOfTest)
	})
	for range 2 {
		header, err := setup(t, `{"auths":{"other.test":{"auth":"YTpi"}}}`, nil).Header(t.Context(), ecrOfTest)
		if err != nil || decoded(t, header) != "AWS:registry-token" {
			t.Fatalf("got %q, %v", decoded(t, header), err)
		}
		got := <-asked
		for _, want := range []string{"AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", "Credential=AKIDROLE/", "/eu-west-1/ecr/", "canary-session"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is missing in %s", want, got)
			}
		}
	}
	// What the operator configured comes first.
	header, err := setup(t, `{"auths":{"`+ecrOfTest+`":{"auth":"YTpi"}}}`, nil).Header(t.Context(), ecrOfTest)
	if err != nil || decoded(t, header) != "a:b" || len(asked) > 0 {
		t.Errorf("got %q, %v, asked %d times", decoded(t, header), err, len(asked))
	}
}

func TestARoleThatMayNotIsOneSentence(t *testing.T) {
	instance(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amzn-ErrorType", "AccessDeniedException")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"__type":"AccessDeniedException","Message":"canary is not authorized"}`)
	})
	_, err := setup(t, "", nil).Header(t.Context(), ecrOfTest)
	if f := fault.As(err); f == nil || f.Code != "forbidden.ecr_credentials" || !strings.Contains(err.Error(), ecrOfTest) || !strings.Contains(err.Error(), "ecr:GetAuthorizationToken") ||
		strings.Contains(err.Error(), "canary") {
		t.Fatalf("got %v", err)
	}
}
