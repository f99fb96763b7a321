package vcs_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/crypto/ssh"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/mothership/vcs"
)

// canary is a secret that must be found nowhere.
const canary = "c4n4ry-s3cret"

type world struct {
	*vcs.Service
	stacks *stack.Service
	inst   *installation.Installation
	dir    string
}

func newID() string { return ulid.Make().String() }

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	var err error
	must := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.inst, err = installation.Open(t.Context(), w.dir, installation.Options{Now: time.Now, NewID: newID})
	must()
	t.Cleanup(func() { _ = w.inst.Close() })
	writer, err2 := audit.New(audit.Options{Now: time.Now, NewID: newID})
	err = err2
	must()
	w.Service, err = vcs.New(vcs.Options{DB: w.inst.DB, Audit: writer, Vault: w.inst.Vault, Now: time.Now, NewID: newID})
	must()
	w.stacks, err = stack.New(stack.Options{DB: w.inst.DB, Audit: writer, Events: event.NewLog(time.Now), Vault: w.inst.Vault, Now: time.Now, NewID: newID})
	must()
	err = w.inst.DB.Write(t.Context(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(t.Context(), `INSERT INTO space (id, name, created_at) VALUES ('other', 'other', 1)`)
		return err
	})
	must()
	return w
}

func as(role access.Role) context.Context {
	return access.With(context.Background(), access.Principal{Kind: access.KindAPIKey, ID: "K", Roles: map[string]access.Role{"root": role, "other": role}})
}

func admin() context.Context { return as(access.Admin) }

func (w *world) create(t *testing.T, in vcs.Input) vcs.Integration {
	t.Helper()
	i, err := w.Create(admin(), in)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (w *world) stack(t *testing.T, name, url, integration string) (stack.Stack, error) {
	t.Helper()
	return w.stacks.Create(admin(), stack.Input{Name: name, Settings: stack.Settings{Repository: "infra", RepositoryURL: url, Branch: "main", VCSIntegration: integration}})
}

func token(name, host string) vcs.Input {
	return vcs.Input{Name: name, Host: host, Secret: vcs.Secret{Username: "bot", Token: canary}}
}

func sshKey(t *testing.T, passphrase string) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, canary)
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, canary, []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func code(err error) fault.Code {
	if f := fault.As(err); f != nil {
		return f.Code
	}
	return ""
}

const hostKey = "git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC2ueOjV3bWHlQlNQyEb2hZqbJ5cPFEkPsuS4k04bXAE\n"

func TestASecretReachesTheJobOfItsStackAndNothingElse(t *testing.T) {
	t.Parallel()
	w := setup(t)
	key, known := sshKey(t, ""), hostKey
	w.create(t, token("corp", "Git.example.com:443"))
	w.create(t, vcs.Input{Name: "by-ssh", Host: "git.example.com", Secret: vcs.Secret{SSHKey: strings.TrimSpace(key), KnownHosts: &known}})
	byToken, err := w.stack(t, "a", "https://git.example.com/x", "corp")
	if err != nil {
		t.Fatal(err)
	}
	bySSH, err := w.stack(t, "b", "git@git.example.com:x.git", "by-ssh")
	if err != nil {
		t.Fatal(err)
	}
	none, err := w.stack(t, "c", "https://git.example.com/x", "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Credential(t.Context(), w.inst.DB.Read(), byToken)
	if err != nil || got == nil || got.Token != canary || got.Username != "bot" || got.Host != "git.example.com" || got.SSHKey != "" || got.ID == "" {
		t.Errorf("a token: %+v, %v", got, err)
	}
	got, err = w.Credential(t.Context(), w.inst.DB.Read(), bySSH)
	if err != nil || got == nil || got.SSHKey != key || got.KnownHosts != hostKey || got.Token != "" {
		t.Errorf("a key: %+v, %v", got, err)
	}
	if got, err = w.Credential(t.Context(), w.inst.DB.Read(), none); err != nil || got != nil {
		t.Errorf("nothing was asked for: %+v, %v", got, err)
	}
	inner := strings.Split(key, "\n")[2]
	err = filepath.WalkDir(w.dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte(canary)) || bytes.Contains(data, []byte(inner)) {
			t.Errorf("a secret stands in %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnIntegrationIsForItsHostAndSpaceAlone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.create(t, token("corp", "git.example.com"))
	w.create(t, token("mapped", "private://pool/"))
	w.create(t, vcs.Input{Name: "by-ssh", Host: "git.example.com", Secret: vcs.Secret{SSHKey: sshKey(t, "")}})
	elsewhere := token("elsewhere", "git.example.com")
	elsewhere.Space = "other"
	w.create(t, elsewhere)
	for name, c := range map[string]struct{ url, integration, want string }{
		"another host":    {"https://evil.example.com/x", "corp", "is for git.example.com, and the repository is at evil.example.com"},
		"another port":    {"https://git.example.com:8443/x", "corp", "is at git.example.com:8443"},
		"by ssh":          {"ssh://git@git.example.com/x", "corp", "cannot be used by ssh"},
		"a key by https":  {"https://git.example.com/x", "by-ssh", "cannot be used by https"},
		"another space":   {"https://git.example.com/x", "elsewhere", `is in space "other"`},
		"none there":      {"https://git.example.com/x", "nosuch", `there is no VCS integration "nosuch"`},
		"another pool":    {"private://pool2/x", "mapped", "is at private://pool2"},
		"the right host":  {"https://GIT.example.com:443/x", "corp", ""},
		"the right pool":  {"private://pool/x", "mapped", ""},
		"the right key":   {"ssh://git@git.example.com:22/x", "by-ssh", ""},
		"git's own form":  {"git@git.example.com:x", "by-ssh", ""},
		"a nameless pool": {"private://pool", "mapped", "has no path"},
	} {
		_, err := w.stack(t, name, c.url, c.integration)
		if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestTheDefaultIsForStacksThatNameNone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	first := token("first", "git.example.com")
	first.Default = true
	w.create(t, first)
	w.create(t, token("second", "git.example.com"))
	if _, err := w.Update(admin(), vcs.Change{ID: "second", Default: ptr(true)}); code(err) != "conflict.vcs_default" {
		t.Errorf("a second default: %v", err)
	}
	for url, want := range map[string]string{
		"https://git.example.com/x": "first", "https://other.example.com/x": "", "ssh://git@git.example.com/x": "", "http://127.0.0.1/x": "",
	} {
		st, err := w.stack(t, "s"+strings.NewReplacer(":", "", "/", "", ".", "").Replace(url), url, "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := w.ForStack(t.Context(), st)
		if id := ""; err != nil || (got != nil && got.ID != want) || (got == nil) != (want == "") {
			t.Errorf("%s: got %v%v, %v, want %q", url, id, got, err, want)
		}
	}
	if _, err := w.Update(admin(), vcs.Change{ID: "first", Default: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Update(admin(), vcs.Change{ID: "second", Default: ptr(true)}); err != nil {
		t.Errorf("once the first is none any more: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

func TestAChangeKeepsWhatItDoesNotName(t *testing.T) {
	t.Parallel()
	w := setup(t)
	in := token("corp", "git.example.com")
	in.Labels, in.Description = []string{"a"}, "what"
	made := w.create(t, in)
	st, err := w.stack(t, "s", "https://git.example.com/x", "corp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Update(admin(), vcs.Change{ID: "corp", Description: ptr("changed")}); err != nil {
		t.Fatal(err)
	}
	got, err := w.Get(as(access.Reader), "corp")
	if err != nil || got.Description != "changed" || len(got.Labels) != 1 || got.Username != "bot" || got.ULID != made.ULID {
		t.Errorf("got %+v, %v", got, err)
	}
	if c, err := w.Credential(t.Context(), w.inst.DB.Read(), st); err != nil || c.Token != canary {
		t.Errorf("the token is %v, %v", c, err)
	}
	if _, err := w.Update(admin(), vcs.Change{ID: "corp", Secret: vcs.Secret{Token: canary + "2"}}); err != nil {
		t.Fatal(err)
	}
	if c, err := w.Credential(t.Context(), w.inst.DB.Read(), st); err != nil || c.Token != canary+"2" || c.Username != "bot" {
		t.Errorf("the new token is %v, %v", c, err)
	}
	for _, c := range []struct {
		change vcs.Change
		want   fault.Code
	}{
		{vcs.Change{ID: "nosuch"}, "not_found"},
		{vcs.Change{ID: "corp", Space: "other"}, "unsupported.vcs_space"},
		{vcs.Change{ID: "corp", Secret: vcs.Secret{SSHKey: sshKey(t, "")}}, "invalid.vcs_secret"},
	} {
		if _, err := w.Update(admin(), c.change); code(err) != c.want {
			t.Errorf("%+v: got %v, want %s", c.change.ID, err, c.want)
		}
	}
	if _, err := w.Delete(admin(), "corp"); code(err) != "conflict.vcs_used" || !strings.Contains(err.Error(), `while stack "s" names it`) {
		t.Errorf("deleting one that is named: %v", err)
	}
	if _, err := w.stacks.Delete(admin(), "s"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Delete(admin(), "corp"); err != nil {
		t.Error(err)
	}
	if _, err := w.Get(admin(), "corp"); code(err) != "not_found" {
		t.Errorf("a deleted one: %v", err)
	}
	if again := w.create(t, in); again.ULID == made.ULID {
		t.Error("a new integration has the id of the deleted one, and so its caches")
	}
}

func TestAnUnusableIntegrationIsNamed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.create(t, token("taken", "git.example.com"))
	locked := sshKey(t, "passphrase")
	for name, c := range map[string]struct {
		change func(*vcs.Input)
		want   fault.Code
	}{
		"a name with capitals":       {func(in *vcs.Input) { in.Name = "Corp" }, "invalid.vcs_name"},
		"a name that is taken":       {func(in *vcs.Input) { in.Name = "taken" }, "conflict.vcs_name"},
		"no host":                    {func(in *vcs.Input) { in.Host = "" }, "invalid.vcs_host"},
		"a path":                     {func(in *vcs.Input) { in.Host = "git.example.com/team" }, "invalid.vcs_host"},
		"a user in the host":         {func(in *vcs.Input) { in.Host = "u:" + canary + "@git.example.com" }, "invalid.vcs_host"},
		"a token by ssh":             {func(in *vcs.Input) { in.Host = "ssh://git.example.com" }, "invalid.vcs_host"},
		"no secret":                  {func(in *vcs.Input) { in.Token = "" }, "invalid.vcs_secret"},
		"two secrets":                {func(in *vcs.Input) { in.SSHKey = locked }, "invalid.vcs_secret"},
		"a token of two lines":       {func(in *vcs.Input) { in.Token = canary + "\n" + canary }, "invalid.vcs_token"},
		"a user with a colon":        {func(in *vcs.Input) { in.Username = "a:b" }, "invalid.vcs_username"},
		"a locked key":               {func(in *vcs.Input) { in.Secret = vcs.Secret{SSHKey: locked} }, "invalid.vcs_ssh_key"},
		"no key":                     {func(in *vcs.Input) { in.Secret = vcs.Secret{SSHKey: canary} }, "invalid.vcs_ssh_key"},
		"a key with a user":          {func(in *vcs.Input) { in.Secret = vcs.Secret{SSHKey: locked, Username: "git"} }, "invalid.vcs_username"},
		"a line that is no host key": {func(in *vcs.Input) { in.KnownHosts = ptr(hostKey + canary + "\n") }, "invalid.vcs_known_hosts"},
		"an empty label":             {func(in *vcs.Input) { in.Labels = []string{""} }, "invalid.vcs_labels"},
		"no such space":              {func(in *vcs.Input) { in.Space = "nosuch" }, "forbidden"},
	} {
		in := token("new", "git.example.com")
		c.change(&in)
		_, err := w.Create(admin(), in)
		if code(err) != c.want || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}
