package quickstart

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/durable"
	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/seal"
)

func (s *session) getKey(context.Context) (string, map[string]any, error) {
	key, csr, made, err := poolKey(s.dir, keyBits)
	if err != nil {
		return "", nil, err
	}
	s.keyPEM, s.csr = key, csr
	data := pairs("key", s.dir.poolKey(), "csr", s.dir.csr())
	if made {
		return "pool key " + s.dir.poolKey() + " and its signing request; the key never leaves this machine", data, nil
	}
	return "going on with pool key " + s.dir.poolKey(), data, nil
}

func (s *session) getRecovery(context.Context) (string, map[string]any, error) {
	recipient, made, err := recoveryKey(s.dir)
	if err != nil {
		return "", nil, err
	}
	s.recovery = recipient
	data := pairs("key", s.dir.recoveryKey(), "recipient", recipient)
	if made {
		return "recovery key " + s.dir.recoveryKey() + "; in earnest, keep such a key offline", data, nil
	}
	return "going on with recovery key " + s.dir.recoveryKey(), data, nil
}

// getPool goes on with the pool or makes it. A token names the addresses of its
// mothership and does not change by itself, so one that names other addresses
// than today's is replaced by a reset.
func (s *session) getPool(ctx context.Context) (string, map[string]any, error) {
	pool, err := s.api.PoolByName(ctx, poolName)
	if err != nil {
		return "", nil, err
	}
	said := "going on with pool " + poolName
	switch {
	case pool == nil:
		pool, err = s.api.CreatePool(ctx, poolName, string(s.csr), "Made by the quickstart.")
		said = "pool " + poolName + " is made; its token is kept in " + s.dir.token()
	case !s.fits(pool.Token):
		pool, err = s.api.ResetPool(ctx, pool.ID, string(s.csr))
		said = "pool " + poolName + " has a new token, since the old one names another key or address"
	}
	if err != nil {
		return "", nil, err
	}
	if err := durable.WriteFile(s.dir.token(), []byte(pool.Token+"\n")); err != nil {
		return "", nil, err
	}
	s.pool = pool
	return said, pairs("pool", pool.ID, "token_file", s.dir.token()), nil
}

// fits reports whether launchers can work with this token and our key today.
func (s *session) fits(text string) bool {
	token, err := seal.ParseToken(text)
	if err != nil {
		return false
	}
	key, err := seal.ParsePoolKeyPEM(s.keyPEM)
	if err != nil || key.Matches(token.PoolCertificate()) != nil {
		return false
	}
	return hostOf(token.API.Endpoint) == s.address.http && hostOf(token.Broker.Endpoint) == s.address.mqtt
}

// launcherTag is the tag (SPACELIFT_METADATA_…) by which a worker says which of
// our launchers it is.
const launcherTag = "launcher"

// startLaunchers starts both launchers, each with a data directory of its own as
// on two machines, and waits until both are registered and take work.
func (s *session) startLaunchers(ctx context.Context) (string, map[string]any, error) {
	for n := 1; n <= launchers; n++ {
		name := fmt.Sprintf("launcher-%d", n)
		if _, err := s.procs.start(childSpec{
			name: name, binary: s.opts.Launcher, log: s.dir.log(name),
			// The first signal lets a run come to its end, the second stops it.
			signals: 2, grace: 15 * time.Second,
			args: []string{"--data", s.dir.launcher(n), "--backend", s.backend},
			env:  s.launcherEnv(name),
		}); err != nil {
			return "", nil, err
		}
	}
	err := s.poll(ctx, time.Minute, "the registration of both launchers", s.registered)
	if err != nil {
		return "", nil, err
	}
	data := map[string]any{}
	var names []string
	for id, name := range s.ours {
		data[name] = id
	}
	for n := 1; n <= launchers; n++ {
		name := fmt.Sprintf("launcher-%d", n)
		names = append(names, fmt.Sprintf("%s is worker %v", name, data[name]))
	}
	return strings.Join(names, ", "), data, nil
}

// launcherEnv is a launcher's whole environment. Token and key travel here and
// not as arguments, which every user of the machine could read.
func (s *session) launcherEnv(name string) []string {
	env := inherited(
		s.opts.Environ,
		"SPACELIFT_TOKEN="+s.pool.Token,
		"SPACELIFT_POOL_PRIVATE_KEY="+base64.StdEncoding.EncodeToString(s.keyPEM),
		"SPACELIFT_RECOVERY_RECIPIENTS="+s.recovery,
		"SPACELIFT_METADATA_"+launcherTag+"="+name,
		// The quickstart's repository is a directory of this machine.
		"SPACELIFT_ALLOW_FILE_SOURCE=true",
	)
	if s.backend == BackendProcess {
		// A plan keeps absolute paths, so both workers must see a workspace at
		// the same one even where it cannot be shown at /mnt/workspace.
		env = append(env, "SPACELIFT_WORKSPACE_ROOT="+s.dir.workspaces())
	}
	if s.image != "" {
		env = append(env, "SPACELIFT_DEFAULT_RUNNER_IMAGE="+s.image)
	}
	return env
}

// registered looks for both launchers among the pool's workers, and takes back a
// drain that an earlier start left.
func (s *session) registered(ctx context.Context) (bool, string, error) {
	workers, err := s.api.Workers(ctx, s.pool.ID)
	if err != nil {
		return false, "", err
	}
	clear(s.ours)
	for _, w := range workers {
		if w.Launcher == "" {
			continue
		}
		s.ours[w.ID] = w.Launcher
		if w.Drained {
			if err := s.api.Drain(ctx, s.pool.ID, w.ID, false); err != nil {
				return false, "", err
			}
			s.note("workers", w.Launcher+" was left drained; it takes work again")
		}
	}
	return len(s.ours) >= launchers, fmt.Sprintf("%d of %d", len(s.ours), launchers), nil
}

// label names a worker for people.
func (s *session) label(worker string) string {
	if name := s.ours[worker]; name != "" {
		return name + " (worker " + worker + ")"
	}
	return "worker " + worker
}

// tool is what plans and applies.
type tool string

const (
	terraform tool = "terraform"
	tofu      tool = "tofu"
	// custom is the workflow file of the repository, for a host without either.
	custom tool = "custom"
)

// findTool prefers Terraform, as the stack's default does.
func (s *session) findTool() tool {
	for _, t := range []tool{terraform, tofu} {
		if _, err := s.opts.LookPath(string(t)); err == nil {
			return t
		}
	}
	return custom
}

// engine is the container engine as far as the quickstart needs it.
type engine interface {
	// Check tells whether runs can go into containers, and if not, why.
	Check(ctx context.Context) error
	// Import makes the small runner image from the host's own files, unless it
	// is there, and returns its name.
	Import(ctx context.Context) (string, error)
}

// chooseBackend takes what was asked for. "auto" is docker where an engine
// answers that runs may use; only a quickstart ever chooses processes by itself.
func (s *session) chooseBackend(ctx context.Context) (string, map[string]any, error) {
	s.backend = s.opts.Backend
	said := "runs are plain processes of this machine: no isolation, for a first look only"
	if s.backend != BackendProcess {
		if s.engine == nil {
			e, err := newEngine(s.dir)
			if err != nil {
				return "", nil, err
			}
			s.engine = e
		}
		err := s.engine.Check(ctx)
		switch {
		case err == nil:
			s.backend = BackendDocker
		case s.backend == BackendAuto:
			s.backend = BackendProcess
			s.note("backend", "no container engine is used: "+fault.Public(err).Message)
		default:
			return "", nil, err
		}
	}
	if s.backend == BackendDocker {
		image, err := s.engine.Import(ctx)
		if err != nil {
			return "", nil, err
		}
		s.image = image
		said = "runs go into containers; runner image " + image + ", made from this machine's own files"
	}
	s.tool = s.findTool()
	if s.tool == custom {
		s.note("backend", "neither terraform nor tofu is on this machine's PATH: a custom workflow of shell commands stands in for it")
	}
	return said, pairs("backend", s.backend, "image", s.image, "tool", string(s.tool)), nil
}
