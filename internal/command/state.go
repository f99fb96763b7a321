package command

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/spaceport-iac/spaceport/internal/mothership/blob"
	"github.com/spaceport-iac/spaceport/internal/mothership/id"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
	"github.com/spaceport-iac/spaceport/internal/mothership/statefile"
)

type stateExport struct {
	ID   string `arg:"" help:"The state's id."`
	Data string `env:"SPACEPORT_DATA_DIR" default:"/var/lib/spaceport" placeholder:"DIR" help:"The server's data directory."`
}

// Run prints the state. Whoever can read the key file needs no permission.
func (c stateExport) Run(ctx context.Context, p Process) (err error) {
	inst, err := installation.OpenBeside(ctx, c.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inst.Close()) }()
	objects, err := blob.OpenReader(inst.Objects)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, objects.Close()) }()
	state, err := statefile.Export(ctx, statefile.ExportOptions{
		DB: inst.DB, Objects: objects, Vault: inst.Vault, Now: time.Now, NewID: id.Maker(time.Now, rand.Reader),
	}, c.ID)
	if err != nil {
		return err
	}
	_, err = p.Stdout.Write(state)
	return err
}
