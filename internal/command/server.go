package command

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spaceport-iac/spaceport/internal/mothership"
	"github.com/spaceport-iac/spaceport/internal/mothership/setting"
	"github.com/spaceport-iac/spaceport/internal/version"
)

type serverCommand struct {
	setting.Settings `embed:""`
}

// Run serves until ctx ends. The log is JSON on standard error.
func (c serverCommand) Run(ctx context.Context, p Process) (err error) {
	settings, err := c.Resolve()
	if err != nil {
		return misuse{err}
	}
	log := slog.New(slog.NewJSONHandler(p.Stderr, &slog.HandlerOptions{Level: settings.Level}))
	for _, warning := range setting.Warnings(p.Environ) {
		log.Warn("a name of the environment is of no use", "what", warning)
	}
	m, err := mothership.New(ctx, mothership.Options{Settings: settings, Log: log})
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, m.Close())
		log.Info("stopped")
	}()
	a := m.Addresses
	log.Info("ready", "api", a.API, "broker", a.Broker, "http", a.HTTP, "mqtt", a.MQTT, "health", a.Health,
		"data", settings.Data, "version", version.String())
	return m.Run(ctx)
}
