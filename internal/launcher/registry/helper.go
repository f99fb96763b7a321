package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/docker/cli/cli/config/configfile"
	clicredentials "github.com/docker/cli/cli/config/credentials"
	"github.com/docker/cli/cli/config/types"
	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// tokenUser is the user name with which a helper says that the password is an
// identity token.
const tokenUser = "<token>"

// helperName keeps a helper's name from becoming a path.
var helperName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// ask runs a credential helper. What it does not know is no error.
func (c *Credentials) ask(ctx context.Context, helper, key string) (types.AuthConfig, error) {
	name := "docker-credential-" + helper
	if !helperName.MatchString(helper) {
		return types.AuthConfig{}, fault.New(fault.Invalid, "config.json names a credential helper %q, which is no name of a program", helper).Named("docker_config")
	}
	path := lookPath(name, c.o.Environ)
	if path == "" {
		return types.AuthConfig{}, fault.New(fault.NotFound, "the credential helper %s that config.json names for registry %s is not on the launcher's PATH", name, key).
			Named("credential_helper").WithHint("install it on this worker")
	}
	got, err := client.Get(func(args ...string) client.Program {
		cmd := exec.CommandContext(ctx, path, args...)
		// A child that keeps the pipes open must not hold the run up.
		cmd.WaitDelay = time.Second
		cmd.Env = slices.Concat(c.o.Environ, []string{"DOCKER_CONFIG=" + c.o.Dir})
		return &program{cmd}
	}, key)
	switch {
	case credentials.IsErrCredentialsNotFound(err):
		return types.AuthConfig{}, nil
	case ctx.Err() != nil:
		return types.AuthConfig{}, fault.Wrap(ctx.Err(), fault.Unavailable, "the credential helper %s did not answer for registry %s in time", name, key).Named("credential_helper")
	case err != nil:
		// Not the error itself: it repeats what the helper printed.
		return types.AuthConfig{}, fault.New(fault.Forbidden, "the credential helper %s failed for registry %s", name, key).
			Named("credential_helper").WithHint("run it as the launcher's user and see what it says: echo %s | %s get", key, name)
	}
	if got.Username == tokenUser {
		return types.AuthConfig{IdentityToken: got.Secret}, nil
	}
	return types.AuthConfig{Username: got.Username, Password: got.Secret}, nil
}

// program is a helper's process. Its standard error goes nowhere.
type program struct{ cmd *exec.Cmd }

// Input implements client.Program.
func (p *program) Input(in io.Reader) { p.cmd.Stdin = in }

// Output implements client.Program. An answer is small; a helper that prints
// without end is cut off.
func (p *program) Output() ([]byte, error) {
	out := &capped{left: 1 << 20}
	p.cmd.Stdout = out
	err := p.cmd.Run()
	return out.b.Bytes(), err
}

type capped struct {
	b    bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	if len(p) > c.left {
		return 0, errors.New("the answer is too long")
	}
	c.left -= len(p)
	return c.b.Write(p)
}

// lookPath finds a program on the PATH of an environment, or returns "".
func lookPath(name string, environ []string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		path, ok := strings.CutPrefix(environ[i], "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			if !filepath.IsAbs(dir) {
				continue
			}
			if found, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return found
			}
		}
		return ""
	}
	return ""
}

// fileEntry is what the file itself has for a registry, whose name may be
// written there as an address.
func fileEntry(cf *configfile.ConfigFile, key, host string) (types.AuthConfig, error) {
	for _, name := range []string{key, host} {
		if auth, ok := cf.AuthConfigs[name]; ok {
			return bare(auth), nil
		}
	}
	for name, auth := range cf.AuthConfigs {
		if clicredentials.ConvertToHostname(name) == host {
			return bare(auth), nil
		}
	}
	return types.AuthConfig{}, nil
}

// bare leaves out what is no credential. An entry that docker login made for a
// store has nothing else.
func bare(a types.AuthConfig) types.AuthConfig {
	return types.AuthConfig{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
}
