package stack

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mask"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

const (
	maxFile     = 2 << 20 // bytes of a file's content
	maxElements = 1000
	// maxVariable leaves room for the name and what is around it in the 128 KiB
	// that a kernel takes for one string of an environment.
	maxVariable     = 120 << 10
	maxVariableName = 255
	maxFilePath     = 1024
	// maxTotal bounds all values of a stack as they are kept, in bytes: a job that no
	// launcher can take would go from worker to worker for ever.
	maxTotal = 32 << 20
)

// variableName is what a shell can name. A prefix that says in which class of run
// it is delivered stands before it.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// bareName is the name under which a variable is delivered.
func bareName(id string) string {
	for _, prefix := range []string{"ro_", "wo_"} {
		if bare, ok := strings.CutPrefix(id, prefix); ok {
			return bare
		}
	}
	return id
}

// valuePurpose binds a wrapped value to its row: the stack and the element.
func valuePurpose(stackID, id string) string { return "stack_config.value:" + stackID + ":" + id }

// clean checks an element and puts a file's path into its shortest form.
func (in *ConfigInput) clean() error {
	switch in.Type {
	case EnvironmentVariable:
		return in.checkVariable()
	case FileMount:
		return in.cleanFile()
	}
	return invalid("config_type", "%q is not a kind of configuration", in.Type).
		WithHint("choose %s or %s", EnvironmentVariable, FileMount)
}

func (in *ConfigInput) checkVariable() error {
	switch {
	case len(in.ID) > maxVariableName || !variableName.MatchString(bareName(in.ID)):
		return invalid("variable_name", "%q is not the name of an environment variable", in.ID).
			WithHint("use letters, digits and underscores, and no digit first")
	case len(in.Value) > maxVariable:
		return invalid("variable_size", "the value of %s has %d bytes, and at most %d can be delivered", in.ID, len(in.Value), maxVariable).
			WithHint("mount it as a file")
	case strings.ContainsRune(in.Value, 0):
		return invalid("variable_value", "the value of %s holds a null byte, which no environment can carry", in.ID).
			WithHint("mount it as a file")
	}
	return nil
}

func (in *ConfigInput) cleanFile() error {
	clean, ok := cleanPath(in.ID)
	if !ok || len(clean) > maxFilePath {
		return invalid("file_path", "%q is not a path below the workspace", in.ID)
	}
	in.ID = clean
	content, err := base64.StdEncoding.DecodeString(in.Value)
	if err != nil {
		// The decoder's error is not kept: its text could tell of a secret.
		return invalid("file_base64", "the content of %s is not base64", in.ID)
	}
	if len(content) > maxFile {
		return invalid("file_size", "the file %s has %d bytes, and at most %d are allowed", in.ID, len(content), maxFile)
	}
	return nil
}

// unmasked is the warning about a secret that masking will pass over, or "".
func (in *ConfigInput) unmasked() string {
	if !in.WriteOnly {
		return ""
	}
	value := in.Value
	if in.Type == FileMount {
		content, err := base64.StdEncoding.DecodeString(in.Value)
		if err != nil {
			return "" // refused already
		}
		value = string(content)
	}
	if mask.Maskable(value) {
		return ""
	}
	return fmt.Sprintf("%s is too short to be hidden in logs: its value may show there. "+
		"Only secrets of at least %d bytes are masked, not counting white space around them.", in.ID, mask.MinLength)
}

// SetConfig sets a variable or a file; an element with the same id is replaced.
//
// A secret shorter than mask.MinLength bytes is accepted and delivered, but not
// masked in logs: the answer has a warning, and each run's log says it again.
func (s *Service) SetConfig(ctx context.Context, ref string, in ConfigInput) (ConfigElement, error) {
	if err := s.o.Auth.RequireAnywhere(ctx, access.StackUpdate); err != nil {
		return ConfigElement{}, err
	}
	if err := in.clean(); err != nil {
		return ConfigElement{}, err
	}
	if len(in.Description) > maxDescription {
		return ConfigElement{}, invalid("config_description", "a description has at most %d bytes", maxDescription)
	}
	sum := sha256.Sum256([]byte(in.Value))
	e := ConfigElement{
		ID: in.ID, Type: in.Type, WriteOnly: in.WriteOnly, Checksum: hex.EncodeToString(sum[:]),
		Description: in.Description, CreatedAt: s.stamp(),
	}
	if !in.WriteOnly {
		e.Value = &in.Value
	}
	e.Warning = in.unmasked()
	_, err := s.change(ctx, access.StackUpdate, ref, EventChanged, func(tx *db.Tx, st *Stack) (map[string]string, error) {
		var others, bytes int
		err := tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(LENGTH(value)), 0) FROM stack_config WHERE stack = $1 AND id <> $2`, st.ID, in.ID).
			Scan(&others, &bytes)
		if err != nil {
			return nil, fmt.Errorf("count configuration: %w", err)
		}
		if others >= maxElements {
			return nil, fault.New(fault.Conflict, "stack %q has %d variables and files, which is the most there can be", st.Slug, others).Named("config_count")
		}
		wrapped, err := s.o.Vault.Wrap(ctx, valuePurpose(st.ID, in.ID), []byte(in.Value))
		if err != nil {
			return nil, err
		}
		if bytes+len(wrapped) > maxTotal {
			return nil, fault.New(fault.Conflict, "the variables and files of stack %q would be larger than %d MiB together", st.Slug, maxTotal>>20).Named("config_total").
				WithHint("keep what is large in the repository or in a store of its own")
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO stack_config (stack, id, type, value, write_only, checksum, description, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (stack, id) DO UPDATE SET type = excluded.type, value = excluded.value, write_only = excluded.write_only,
				checksum = excluded.checksum, description = excluded.description, created_at = excluded.created_at`,
			st.ID, e.ID, string(e.Type), wrapped, e.WriteOnly, e.Checksum, e.Description, db.Micros(e.CreatedAt))
		if err != nil {
			return nil, fmt.Errorf("store configuration: %w", err)
		}
		return map[string]string{"config": e.ID, "type": string(e.Type)}, nil
	})
	if err != nil {
		return ConfigElement{}, err
	}
	return e, nil
}

// DeleteConfig removes a variable or a file and returns what it was, without its
// value.
func (s *Service) DeleteConfig(ctx context.Context, ref, id string) (ConfigElement, error) {
	var e ConfigElement
	_, err := s.change(ctx, access.StackUpdate, ref, EventChanged, func(tx *db.Tx, st *Stack) (map[string]string, error) {
		var err error
		if e, _, err = readElement(ctx, tx, st, id); err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM stack_config WHERE stack = $1 AND id = $2`, st.ID, e.ID); err != nil {
			return nil, fmt.Errorf("delete configuration: %w", err)
		}
		return map[string]string{"config": e.ID, "deleted": "true"}, nil
	})
	if err != nil {
		return ConfigElement{}, err
	}
	return e, nil
}

// Config lists a stack's variables and files by id.
func (s *Service) Config(ctx context.Context, ref string) ([]ConfigElement, error) {
	st, err := s.locate(ctx, s.o.DB.Read(), access.StackRead, ref)
	if err != nil {
		return nil, err
	}
	stored, err := readElements(ctx, s.o.DB.Read(), st.ID)
	if err != nil {
		return nil, err
	}
	all := make([]ConfigElement, 0, len(stored))
	for _, e := range stored {
		if err := s.reveal(ctx, st.ID, &e); err != nil {
			return nil, err
		}
		all = append(all, e.ConfigElement)
	}
	return all, nil
}

// ConfigElement returns one variable or file of a stack.
func (s *Service) ConfigElement(ctx context.Context, ref, id string) (ConfigElement, error) {
	st, err := s.locate(ctx, s.o.DB.Read(), access.StackRead, ref)
	if err != nil {
		return ConfigElement{}, err
	}
	e, wrapped, err := readElement(ctx, s.o.DB.Read(), &st, id)
	if err != nil {
		return ConfigElement{}, err
	}
	full := element{ConfigElement: e, wrapped: wrapped}
	err = s.reveal(ctx, st.ID, &full)
	return full.ConfigElement, err
}

// reveal opens the value of an element that is not write-only. One that is stays
// closed here: what was never opened cannot leak into an answer.
func (s *Service) reveal(ctx context.Context, stackID string, e *element) error {
	if e.WriteOnly {
		return nil
	}
	value, err := s.o.Vault.Unwrap(ctx, valuePurpose(stackID, e.ID), e.wrapped)
	if err != nil {
		return err
	}
	text := string(value)
	e.Value = &text
	return nil
}

// Resolve opens all of a stack's variables and files, for a run's job. It asks
// for no permission: a transport must never call it.
func (s *Service) Resolve(ctx context.Context, q db.Queryer, stackID string) ([]wire.Variable, []wire.File, error) {
	stored, err := readElements(ctx, q, stackID)
	if err != nil {
		return nil, nil, err
	}
	variables, files := []wire.Variable{}, []wire.File{}
	for _, e := range stored {
		value, err := s.o.Vault.Unwrap(ctx, valuePurpose(stackID, e.ID), e.wrapped)
		if err != nil {
			return nil, nil, err
		}
		if e.Type == EnvironmentVariable {
			variables = append(variables, wire.Variable{Name: e.ID, Value: string(value), Secret: e.WriteOnly, Source: "stack"})
			continue
		}
		content, err := base64.StdEncoding.DecodeString(string(value))
		if err != nil {
			return nil, nil, fmt.Errorf("read file %s of stack %s: not base64", e.ID, stackID)
		}
		files = append(files, wire.File{Path: e.ID, Content: content, Secret: e.WriteOnly})
	}
	return variables, files, nil
}

// element is a ConfigElement with its wrapped value.
type element struct {
	ConfigElement
	wrapped []byte
}

const elementColumns = `id, type, value, write_only, checksum, description, created_at`

func readElements(ctx context.Context, q db.Queryer, stackID string) ([]element, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+elementColumns+` FROM stack_config WHERE stack = $1 ORDER BY id`, stackID)
	all, err := db.Collect(rows, err, func(r *sql.Rows) (element, error) { return scanElement(r.Scan) })
	if err != nil {
		return nil, fmt.Errorf("read configuration of stack %s: %w", stackID, err)
	}
	return all, nil
}

func readElement(ctx context.Context, q db.Queryer, st *Stack, id string) (ConfigElement, []byte, error) {
	e, err := scanElement(q.QueryRowContext(ctx, `SELECT `+elementColumns+` FROM stack_config WHERE stack = $1 AND id = $2`, st.ID, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return ConfigElement{}, nil, fault.New(fault.NotFound, "stack %q has no variable or file %q", st.Slug, id)
	}
	if err != nil {
		return ConfigElement{}, nil, fmt.Errorf("read configuration of stack %s: %w", st.ID, err)
	}
	return e.ConfigElement, e.wrapped, nil
}

func scanElement(into func(...any) error) (element, error) {
	var e element
	var kind string
	var created int64
	if err := into(&e.ID, &kind, &e.wrapped, &e.WriteOnly, &e.Checksum, &e.Description, &created); err != nil {
		return e, err
	}
	e.Type, e.CreatedAt = ConfigType(kind), time.UnixMicro(created)
	return e, nil
}
