package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/client"
	"github.com/spaceport-iac/spaceport/internal/fault"
)

// vcsSet makes or changes an integration. Secrets come from files or from standard
// input: the arguments of a process are open to every user of the host.
type vcsSet struct {
	Name        string `arg:"" help:"Name of the integration, which never changes."`
	Host        string `help:"The host it is for, such as git.example.com or private://name. Needed for a new one; it never changes."`
	Username    string `help:"User name beside a token. Left out for a new one: git."`
	TokenFile   string `placeholder:"FILE" help:"File with the token, for https; - for standard input."`
	SSHKeyFile  string `name:"ssh-key-file" placeholder:"FILE" help:"File with the private key, for ssh, without passphrase; - for standard input."`
	KnownHosts  string `placeholder:"FILE" help:"File with the host keys, as ssh-keyscan prints them."`
	Default     *bool  `negatable:"" help:"Use it for the stacks that name no integration and have their repository on its host."`
	Space       string `default:"root" help:"Space of the integration."`
	Description string `help:"What it is for."`
}

// maxSecretFile bounds what is read of a file, in bytes.
const maxSecretFile = 128 << 10

// Run sets the integration and prints it as JSON, without its secret.
func (c vcsSet) Run(ctx context.Context, p Process) error {
	if c.TokenFile == "-" && c.SSHKeyFile == "-" {
		return misuse{fault.New(fault.Invalid, "standard input cannot be both the token and the SSH key")}
	}
	server, err := api(p)
	if err != nil {
		return err
	}
	in := client.GitIntegrationInput{Name: c.Name, Space: c.Space, Host: c.Host, Description: c.Description, Username: c.Username, Default: c.Default}
	for _, part := range []struct {
		what, file string
		into       *string
	}{{"token", c.TokenFile, &in.Token}, {"SSH key", c.SSHKeyFile, &in.SSHKey}, {"known hosts", c.KnownHosts, &in.Hosts}} {
		if part.file == "" {
			continue
		}
		if *part.into, err = content(p, part.what, part.file); err != nil {
			return err
		}
	}
	have, err := server.GitIntegration(ctx, c.Name)
	if err != nil {
		return err
	}
	switch {
	case have == nil && c.Host == "":
		return misuse{fault.New(fault.Invalid, "there is no VCS integration %q yet, and a new one needs --host", c.Name)}
	case have == nil:
		have, err = server.CreateGitIntegration(ctx, in)
	case c.Host != "" && !strings.EqualFold(strings.TrimSuffix(c.Host, "/"), have.Host):
		return fault.New(fault.Conflict, "VCS integration %q is for %s, which never changes", c.Name, have.Host).WithHint("make a new one")
	default:
		have, err = server.UpdateGitIntegration(ctx, in)
	}
	if err != nil {
		return err
	}
	return printJSON(p, have)
}

// content reads what must not stand in arguments.
func content(p Process, what, file string) (string, error) {
	source, name := p.Stdin, "standard input"
	if file != "-" {
		name = "the file " + file
		opened, err := os.Open(file)
		if err != nil {
			return "", misuse{fault.Wrap(err, fault.Invalid, "the file %s of the %s cannot be read", file, what)}
		}
		defer opened.Close()
		source = opened
	}
	data, err := io.ReadAll(io.LimitReader(source, maxSecretFile+1))
	if err != nil || len(data) > maxSecretFile || strings.TrimSpace(string(data)) == "" {
		return "", misuse{fault.Wrap(err, fault.Invalid, "%s of the %s cannot be read, is empty, or is larger than %d KiB", name, what, maxSecretFile>>10)}
	}
	return string(data), nil
}

type vcsList struct{}

// Run prints the integrations as JSON, one a line.
func (vcsList) Run(ctx context.Context, p Process) error {
	server, err := api(p)
	if err != nil {
		return err
	}
	all, err := server.GitIntegrations(ctx)
	if err != nil {
		return err
	}
	for _, one := range all {
		if err := printJSON(p, one); err != nil {
			return err
		}
	}
	return nil
}

type vcsDelete struct {
	Name string `arg:"" help:"Name of the integration."`
}

// Run removes the integration and prints nothing.
func (c vcsDelete) Run(ctx context.Context, p Process) error {
	server, err := api(p)
	if err != nil {
		return err
	}
	return server.DeleteGitIntegration(ctx, c.Name)
}

func printJSON(p Process, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	_, err = fmt.Fprintln(p.Stdout, string(text))
	return err
}
