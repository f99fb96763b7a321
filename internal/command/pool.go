package command

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/client"
	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

// Names of the environment that name a server and a key of it.
const (
	envEndpoint = "SPACELIFT_API_KEY_ENDPOINT"
	envID       = "SPACELIFT_API_KEY_ID"
	envSecret   = "SPACELIFT_API_KEY_SECRET"
)

// api returns a client of the server that the environment names. A secret has no
// flag: the arguments of a process are open to every user of the host.
func api(p Process) (*client.Client, error) {
	for _, name := range []string{envEndpoint, envID, envSecret} {
		if p.env(name) == "" {
			return nil, misuse{fault.New(fault.Invalid, "%s is not set", name).
				WithHint("set %s, %s and %s; spaceport apikey create makes a key", envEndpoint, envID, envSecret)}
		}
	}
	c, err := client.New(client.Options{Endpoint: p.env(envEndpoint), ID: p.env(envID), Secret: p.env(envSecret)})
	if err != nil {
		return nil, misuse{err}
	}
	return c, nil
}

type poolCreate struct {
	Name        string   `required:"" help:"Name of the pool."`
	CSR         string   `required:"" name:"csr" placeholder:"FILE" help:"The signing request that openssl made, PEM."`
	Space       string   `help:"Space of the pool. Left out: the root space."`
	Description string   `help:"What the pool is for."`
	Label       []string `placeholder:"LABEL" help:"A label; may be repeated."`
}

// Run makes the pool and prints its token alone.
func (c poolCreate) Run(ctx context.Context, p Process) error {
	server, err := api(p)
	if err != nil {
		return err
	}
	csr, err := os.ReadFile(c.CSR)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "the signing request %s cannot be read", c.CSR).
			WithHint("openssl req -new -newkey rsa:4096 -nodes -keyout spacelift.key -out spacelift.csr makes one")
	}
	// Checked here too: a private key given by mistake must not leave this host.
	if _, err := seal.ParseCSR(string(csr)); err != nil {
		if f := fault.As(err); f != nil && strings.HasSuffix(string(f.Code), ".csr_private_key") {
			return fault.Wrap(err, fault.Invalid, "%s is a private key and no signing request; it has not been sent anywhere", c.CSR).
				Named("csr_private_key").WithHint("give the .csr file that belongs to it")
		}
		return err
	}
	made, err := server.CreatePool(ctx, client.PoolInput{
		Name: c.Name, CSR: string(csr), Space: c.Space, Description: c.Description, Labels: c.Label,
	})
	if err != nil {
		return err
	}
	if made == nil || strings.TrimSpace(made.Config) == "" {
		return fault.New(fault.Forbidden, "the pool was made, but the key may not read its token").WithHint("use the key of an administrator")
	}
	_, err = fmt.Fprintln(p.Stdout, made.Config)
	return err
}
