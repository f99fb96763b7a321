package command

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/apikey"
	"github.com/spaceport-iac/spaceport/internal/mothership/id"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
)

type apiKeyCreate struct {
	Name  string `required:"" help:"Name of the key."`
	Admin bool   `help:"Let it do everything."`
	Role  string `help:"What a key that is no administrator may do in the root space: reader, writer or admin."`
	Data  string `env:"SPACEPORT_DATA_DIR" default:"/var/lib/spaceport" placeholder:"DIR" help:"The server's data directory."`
}

// Run makes the key. Whoever can write the data directory needs no permission.
func (c apiKeyCreate) Run(ctx context.Context, p Process) (err error) {
	if c.Admin && c.Role != "" {
		return misuse{fault.New(fault.Invalid, "--admin and --role exclude each other").WithHint("an administrator's key may do everything already")}
	}
	fresh := !installation.Exists(c.Data)
	newID := id.Maker(time.Now, rand.Reader)
	d, err := installation.OpenDatabase(ctx, c.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if _, err := installation.Prepare(ctx, d, installation.Options{Now: time.Now, NewID: newID}); err != nil {
		return err
	}
	created, err := apikey.CreateOffline(ctx, d, time.Now, newID, apikey.Input{
		Name: c.Name, Admin: c.Admin, Space: access.RootSpace, Role: access.Role(c.Role),
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(struct {
		ID     string `json:"id"`
		Secret string `json:"secret"`
	}{created.ID, created.Secret})
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	if fresh {
		// Right before a server's first start, and a surprise to who mistyped the name.
		_, _ = fmt.Fprintf(p.Stderr, "spaceport: %s was no server's data directory yet: the key is good for a server that is started on it\n", line(c.Data))
	}
	_, err = fmt.Fprintln(p.Stdout, string(text))
	return err
}
