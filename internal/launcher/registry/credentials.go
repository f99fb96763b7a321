package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// lookupLimit is how long a helper or a cloud may take to answer.
const lookupLimit = 30 * time.Second

// dockerHub is the name that credentials for Docker Hub are kept under.
const dockerHub = "https://index.docker.io/v1/"

// Options configures New.
type Options struct {
	// Dir is the directory of config.json; empty for none.
	Dir string
	// Environ is what credential helpers are run with, as name=value. Their
	// programs are looked for on its PATH.
	Environ []string
	// HTTP calls the clouds that give tokens; the SDK's own client if nil.
	HTTP *http.Client
}

// Credentials finds registry credentials. It is safe for concurrent use.
type Credentials struct{ o Options }

// New makes Credentials. A directory that does not exist, and a config.json that
// cannot be read, is a fault; one that is not there yet is none.
func New(o Options) (*Credentials, error) {
	c := &Credentials{o: o}
	if o.Dir == "" {
		return c, nil
	}
	st, err := os.Stat(o.Dir)
	switch {
	case err != nil:
		return nil, fault.Wrap(err, fault.Invalid, "the directory %s of registry credentials cannot be read (%v)", o.Dir, reason(err)).Named("docker_config")
	case !st.IsDir():
		return nil, fault.New(fault.Invalid, "%s is not a directory", o.Dir).Named("docker_config").WithHint("name the directory that config.json lies in")
	}
	_, err = c.load()
	return c, err
}

// load reads config.json. One that does not exist is empty.
func (c *Credentials) load() (*configfile.ConfigFile, error) {
	path := filepath.Join(c.o.Dir, "config.json")
	cf := configfile.New(path)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return cf, nil
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "the registry credentials in %s cannot be read (%v)", path, reason(err)).Named("docker_config").
			WithHint("let the launcher's user (uid %d) read it", os.Geteuid())
	}
	defer f.Close()
	// The parser's own words may repeat a part of the file.
	if err := cf.LoadFromReader(f); err != nil {
		return nil, fault.New(fault.Invalid, "%s is not a Docker configuration file", path).Named("docker_config").
			WithHint("make it with docker login, or correct its JSON")
	}
	return cf, nil
}

// Header returns the credentials for a registry host (with its port, if it has
// one) in the form of the engine's X-Registry-Auth header, or "" for none. Its
// faults say which source failed.
func (c *Credentials) Header(ctx context.Context, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	auth, err := c.find(ctx, host)
	if err != nil || auth == (types.AuthConfig{}) {
		return "", err
	}
	header, err := authconfig.Encode(registry.AuthConfig{
		Username: auth.Username, Password: auth.Password, IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken,
		ServerAddress: host,
	})
	if err != nil {
		return "", fmt.Errorf("encode the credentials of registry %s: %w", host, err)
	}
	return header, nil
}

func (c *Credentials) find(ctx context.Context, host string) (types.AuthConfig, error) {
	if c.o.Dir != "" {
		auth, err := c.configured(ctx, host)
		if err != nil || auth != (types.AuthConfig{}) {
			return auth, err
		}
	}
	if r, ok := ecrRegistry(host); ok {
		return ecrToken(ctx, r, c.o.HTTP)
	}
	return types.AuthConfig{}, nil
}

// configured looks into config.json as the docker command does.
func (c *Credentials) configured(ctx context.Context, host string) (types.AuthConfig, error) {
	cf, err := c.load()
	if err != nil {
		return types.AuthConfig{}, err
	}
	key := host
	if host == "docker.io" || host == "index.docker.io" {
		key = dockerHub
	}
	helper := cf.CredentialHelpers[key]
	if helper == "" {
		helper = cf.CredentialHelpers[host]
	}
	if helper == "" {
		helper = cf.CredentialsStore
	}
	if helper != "" {
		auth, err := c.ask(ctx, helper, key)
		if err != nil || auth != (types.AuthConfig{}) {
			return auth, err
		}
	}
	// Without a store the file itself is asked; with one, it may still hold what
	// was there before.
	return fileEntry(cf, key, host)
}

// reason is an error of the file system without the path, which the sentence
// names already.
func reason(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
