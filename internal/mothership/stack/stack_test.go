package stack_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/event"
	"github.com/spaceport-iac/spaceport/internal/mothership/installation"
	"github.com/spaceport-iac/spaceport/internal/mothership/stack"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

type world struct {
	*stack.Service
	inst *installation.Installation
}

func newID() string { return ulid.Make().String() }

func setup(t *testing.T) *world {
	t.Helper()
	inst, err := installation.Open(t.Context(), t.TempDir(), installation.Options{Now: time.Now, NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inst.Close() })
	writer, err := audit.New(audit.Options{Now: time.Now, NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	s, err := stack.New(stack.Options{DB: inst.DB, Audit: writer, Events: event.NewLog(time.Now), Vault: inst.Vault, Now: time.Now, NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Service: s, inst: inst}
	w.exec(t, `INSERT INTO space (id, name, created_at) VALUES ('other', 'other', 1)`)
	w.exec(t, `INSERT INTO pool (id, name, description, space, labels, epoch, token, created_at, updated_at) VALUES ('P', 'p', '', 'root', '[]', 1, '', 1, 1), ('Q', 'q', '', 'other', '[]', 1, '', 1, 1)`)
	return w
}

func (w *world) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	err := w.inst.DB.Write(context.Background(), func(tx *db.Tx) error {
		_, err := tx.ExecContext(context.Background(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) count(t *testing.T, query string, args ...any) int {
	t.Helper()
	var n int
	if err := w.inst.DB.Read().QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func as(id string, role access.Role) context.Context {
	return access.With(context.Background(), access.Principal{Kind: access.KindAPIKey, ID: id, Roles: map[string]access.Role{"root": role}})
}

func admin() context.Context { return as("ADMIN", access.Admin) }

func input(name string) stack.Input {
	return stack.Input{Name: name, Pool: "P", Settings: stack.Settings{Repository: "infra", RepositoryURL: "https://git.example.com/team/infra.git", Branch: "main"}}
}

func (w *world) create(t *testing.T, in stack.Input) stack.Stack {
	t.Helper()
	st, err := w.Create(admin(), in)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func code(err error) fault.Code {
	if f := fault.As(err); f != nil {
		return f.Code
	}
	return ""
}

func TestASlugComesFromTheFirstNameAndStays(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for name, want := range map[string]string{
		"Test stack AbC":    "test-stack-abc",
		" -- a  /  b -- ":   "a-b",
		"Überraschung café": "uberraschung-cafe",
		"日本":                "stack",
	} {
		if got := w.create(t, input(name)).Slug; got != want {
			t.Errorf("%q gives %q, want %q", name, got, want)
		}
	}
	if got := w.create(t, input("a b")).Slug; got != "a-b-2" {
		t.Errorf("a second one is %q", got)
	}
	st, err := w.Update(admin(), "a-b-2", input("quite another name"))
	if err != nil || st.Slug != "a-b-2" || st.Name != "quite another name" {
		t.Errorf("after a rename: %+v, %v", st, err)
	}
	asked := input("x")
	asked.Slug = "a-b"
	if _, err := w.Create(admin(), asked); code(err) != "conflict.slug" {
		t.Errorf("one that is taken: %v", err)
	}
	asked.Slug = "Not A Slug"
	if _, err := w.Create(admin(), asked); code(err) != "invalid.slug" {
		t.Errorf("one that is none: %v", err)
	}
	if _, err := w.Delete(admin(), "a-b"); err != nil {
		t.Fatal(err)
	}
	asked.Slug = "a-b"
	if st := w.create(t, asked); st.Slug != "a-b" {
		t.Errorf("not free after a deletion: %q", st.Slug)
	}
}

func TestAStackIsFoundBySlugAndID(t *testing.T) {
	t.Parallel()
	w := setup(t)
	made := w.create(t, input("shop"))
	for _, ref := range []string{"shop", made.ID} {
		got, err := w.Get(admin(), ref)
		if err != nil || got.ID != made.ID || !got.CreatedAt.Equal(made.CreatedAt) || got.State != stack.StateNone || got.StateMode != wire.StateManaged || got.Settings.Vendor.Name != stack.VendorTerraform {
			t.Errorf("%s: %+v, %v", ref, got, err)
		}
	}
	if _, err := w.Delete(admin(), "shop"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Get(admin(), made.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("a deleted one: %v", err)
	}
	if got, err := w.ForRun(context.Background(), w.inst.DB.Read(), made.ID); err != nil || got.ID != made.ID {
		t.Errorf("a deleted one, for its runs: %v", err)
	}
}

func TestAnUnusableSettingIsNamed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for name, test := range map[string]struct {
		change func(in *stack.Input)
		code   fault.Code
	}{
		"no name":                    {func(in *stack.Input) { in.Name = "" }, "invalid.stack_name"},
		"no repository":              {func(in *stack.Input) { in.Settings.Repository, in.Settings.RepositoryURL = "", "" }, "invalid.repository"},
		"a name for a repository":    {func(in *stack.Input) { in.Settings.RepositoryURL = "" }, "invalid.repository"},
		"plain http":                 {func(in *stack.Input) { in.Settings.RepositoryURL = "http://git.example.com/x" }, "invalid.repository"},
		"a password in the URL":      {func(in *stack.Input) { in.Settings.RepositoryURL = "https://u:canary@git.example.com/x" }, "invalid.repository_credentials"},
		"a file":                     {func(in *stack.Input) { in.Settings.RepositoryURL = "file:///srv/x" }, "invalid.repository_file"},
		"an option for an ssh user":  {func(in *stack.Input) { in.Settings.RepositoryURL = "ssh://-oProxyCommand=id@git.example.com/x" }, "invalid.repository"},
		"a password by ssh":          {func(in *stack.Input) { in.Settings.RepositoryURL = "ssh://u:canary@git.example.com/x" }, "invalid.repository_credentials"},
		"a user by https":            {func(in *stack.Input) { in.Settings.RepositoryURL = "https://canary@git.example.com/x" }, "invalid.repository_credentials"},
		"a private address above":    {func(in *stack.Input) { in.Settings.RepositoryURL = "private://pool/../x" }, "invalid.repository"},
		"a sparse path outside":      {func(in *stack.Input) { in.Settings.GitSparseCheckoutPaths = []string{"a", "../b"} }, "invalid.sparse_checkout"},
		"an empty sparse path":       {func(in *stack.Input) { in.Settings.GitSparseCheckoutPaths = []string{"/"} }, "invalid.sparse_checkout"},
		"an unknown integration":     {func(in *stack.Input) { in.Settings.VCSIntegration = "nosuch" }, "invalid.vcs_integration"},
		"a transport that runs code": {func(in *stack.Input) { in.Settings.RepositoryURL = "ext::sh -c id" }, "invalid.repository"},
		"an option for a branch":     {func(in *stack.Input) { in.Settings.Branch = "--upload-pack=id" }, "invalid.branch"},
		"no branch":                  {func(in *stack.Input) { in.Settings.Branch = "" }, "invalid.branch"},
		"a branch with two dots":     {func(in *stack.Input) { in.Settings.Branch = "a..b" }, "invalid.branch"},
		"a project root outside":     {func(in *stack.Input) { in.Settings.ProjectRoot = "a/../../b" }, "invalid.project_root"},
		"an unknown vendor":          {func(in *stack.Input) { in.Settings.Vendor.Name = "pulumi" }, "unsupported.vendor"},
		"an option for a workspace":  {func(in *stack.Input) { in.Settings.Vendor.Workspace = "-x" }, "invalid.vendor"},
		"an unknown hook":            {func(in *stack.Input) { in.Settings.Hooks = map[string][]string{"before_all": {"id"}} }, "invalid.hook"},
		"an empty hook":              {func(in *stack.Input) { in.Settings.Hooks = map[string][]string{"before_init": {" "}} }, "invalid.hook"},
		"an option for an image":     {func(in *stack.Input) { in.Settings.RunnerImage = "--privileged" }, "invalid.runner_image"},
		"an unknown state mode":      {func(in *stack.Input) { in.StateMode = "local" }, "invalid.state_mode"},
		"no such pool":               {func(in *stack.Input) { in.Pool = "NONE" }, "invalid.pool"},
		"a pool of another space":    {func(in *stack.Input) { in.Pool = "Q" }, "invalid.pool"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := input("x")
			test.change(&in)
			_, err := w.Create(admin(), in)
			if code(err) != test.code {
				t.Errorf("got %v, want %s", err, test.code)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the refusal repeats the password: %v", err)
			}
		})
	}
}

func TestUsableSettingsAreTaken(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for name, change := range map[string]func(in *stack.Input){
		"ssh":        func(in *stack.Input) { in.Settings.RepositoryURL = "ssh://git@git.example.com:2222/x" },
		"short ssh":  func(in *stack.Input) { in.Settings.RepositoryURL = "git@git.example.com:team/x.git" },
		"private":    func(in *stack.Input) { in.Settings.RepositoryURL = "private://pool_1/team/x.git" },
		"loopback":   func(in *stack.Input) { in.Settings.RepositoryURL = "http://127.0.0.1:3000/x.git" },
		"localhost":  func(in *stack.Input) { in.Settings.RepositoryURL = "http://localhost/x.git" },
		"no pool":    func(in *stack.Input) { in.Pool = "" },
		"sealed":     func(in *stack.Input) { in.StateMode = wire.StateSealed },
		"every hook": func(in *stack.Input) { in.Settings.Hooks = everyHook() },
		"a root":     func(in *stack.Input) { in.Settings.ProjectRoot = "/a//b/./c/" },
	} {
		in := input(name)
		change(&in)
		st := w.create(t, in)
		got, err := w.Get(admin(), st.ID)
		if err != nil || got.Pool != in.Pool {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		switch name {
		case "a root":
			if got.Settings.ProjectRoot != "a/b/c" {
				t.Errorf("project root is %q", got.Settings.ProjectRoot)
			}
		case "every hook":
			if len(got.Settings.Hooks) != 11 {
				t.Errorf("%d hooks", len(got.Settings.Hooks))
			}
		}
	}
}

func everyHook() map[string][]string {
	all := map[string][]string{}
	for _, name := range stack.HookNames() {
		all[name] = []string{"echo " + name}
	}
	return all
}

func TestTheStateModeIsChosenOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	in := input("shop")
	in.StateMode = wire.StateSealed
	w.create(t, in)
	in.StateMode = ""
	if st, err := w.Update(admin(), "shop", in); err != nil || st.StateMode != wire.StateSealed {
		t.Errorf("got %+v, %v", st, err)
	}
	in.StateMode = wire.StateManaged
	if _, err := w.Update(admin(), "shop", in); code(err) != "conflict.state_mode" {
		t.Errorf("got %v", err)
	}
}

func TestARoleDecidesWhatMayBeDoneToStacks(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.create(t, input("shop"))
	for name, test := range map[string]struct {
		least access.Role
		do    func(ctx context.Context) error
	}{
		"get":    {access.Reader, func(ctx context.Context) error { _, err := w.Get(ctx, "shop"); return err }},
		"list":   {access.Reader, func(ctx context.Context) error { _, err := w.List(ctx); return err }},
		"config": {access.Reader, func(ctx context.Context) error { _, err := w.Config(ctx, "shop"); return err }},
		"lock":   {access.Writer, func(ctx context.Context) error { _, err := w.Lock(ctx, "shop", ""); return err }},
		"unlock": {access.Writer, func(ctx context.Context) error { _, err := w.Unlock(ctx, "shop"); return err }},
		"update": {access.Admin, func(ctx context.Context) error { _, err := w.Update(ctx, "shop", input("shop")); return err }},
		"disable": {access.Admin, func(ctx context.Context) error {
			_, err := w.SetDisabled(ctx, "shop", false)
			return err
		}},
		"set config": {access.Admin, func(ctx context.Context) error {
			_, err := w.SetConfig(ctx, "shop", stack.ConfigInput{ID: "A", Type: stack.EnvironmentVariable})
			return err
		}},
		"delete config": {access.Admin, func(ctx context.Context) error {
			_, err := w.DeleteConfig(ctx, "shop", "A")
			if fault.Is(err, fault.NotFound) {
				return nil
			}
			return err
		}},
		"create": {access.Admin, func(ctx context.Context) error { _, err := w.Create(ctx, input("new")); return err }},
	} {
		roles := []access.Role{access.Reader, access.Writer, access.Admin}
		allowed := false
		for _, role := range roles {
			allowed = allowed || role == test.least
			if err := test.do(as("SAME", role)); (err == nil) != allowed {
				t.Errorf("a %s may %s: %v, want %t", role, name, err, allowed)
			}
		}
		if err := test.do(context.Background()); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("nobody may %s: %v", name, err)
		}
	}
	elsewhere := access.With(context.Background(), access.Principal{Kind: access.KindAPIKey, ID: "E", Roles: map[string]access.Role{"other": access.Admin}})
	if _, err := w.Get(elsewhere, "shop"); !fault.Is(err, fault.Forbidden) {
		t.Errorf("an administrator of another space: %v", err)
	}
	if all, err := w.List(elsewhere); err != nil || len(all) != 0 {
		t.Errorf("an administrator of another space lists %v, %v", all, err)
	}
}

func TestALockIsItsOwners(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.create(t, input("shop"))
	anna, ben := as("ANNA", access.Writer), as("BEN", access.Writer)
	st, err := w.Lock(anna, "shop", "migration")
	if err != nil || st.LockedBy != "api::ANNA" || st.LockNote != "migration" || st.LockedAt == nil || st.Locked("api::ANNA") || !st.Locked("api::BEN") {
		t.Fatalf("got %+v, %v", st, err)
	}
	if _, err := w.Lock(anna, "shop", "still"); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := w.Lock(ben, "shop", ""); code(err) != "conflict.stack_locked" || !strings.Contains(err.Error(), "api::ANNA") {
		t.Errorf("by another: %v", err)
	}
	if _, err := w.Unlock(ben, "shop"); !fault.Is(err, fault.Forbidden) {
		t.Errorf("unlocked by another: %v", err)
	}
	if st, err := w.Unlock(admin(), "shop"); err != nil || st.LockedBy != "" {
		t.Errorf("by an administrator: %+v, %v", st, err)
	}
	if st, err := w.Lock(ben, "shop", ""); err != nil || st.LockedBy != "api::BEN" {
		t.Errorf("got %+v, %v", st, err)
	}
}

func TestAStackInUseOrProtectedIsNotDeleted(t *testing.T) {
	t.Parallel()
	w := setup(t)
	st := w.create(t, input("shop"))
	w.exec(t, `INSERT INTO run (id, stack, type, blocking, state, state_version, state_at, branch, commit_data, title, created_at, updated_at)
		VALUES ('RUN', $1, 'TRACKED', TRUE, 'UNCONFIRMED', 1, 1, 'main', '{}', 'x', 1, 1)`, st.ID)
	if _, err := w.Delete(admin(), "shop"); code(err) != "conflict.stack_running" || !strings.Contains(err.Error(), "RUN") {
		t.Errorf("with a run: %v", err)
	}
	w.exec(t, `UPDATE run SET state = 'DISCARDED'`)
	w.exec(t, `INSERT INTO state_lock (stack, run, attempt, held_at, quarantined_at, quarantine_until) VALUES ($1, 'RUN', 1, 1, 1, 1)`, st.ID)
	if _, err := w.Delete(admin(), "shop"); code(err) != "conflict.stack_quarantined" || !strings.Contains(err.Error(), "RUN") {
		t.Errorf("in quarantine: %v", err)
	}
	w.exec(t, `DELETE FROM state_lock`)
	in := input("shop")
	in.Settings.ProtectFromDeletion = true
	if _, err := w.Update(admin(), "shop", in); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Delete(admin(), "shop"); code(err) != "conflict.stack_protected" {
		t.Errorf("protected: %v", err)
	}
	if _, err := w.Update(admin(), "shop", input("shop")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.SetConfig(admin(), "shop", stack.ConfigInput{ID: "A", Type: stack.EnvironmentVariable, Value: "canary", WriteOnly: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Delete(admin(), "shop"); err != nil {
		t.Fatal(err)
	}
	if n := w.count(t, `SELECT COUNT(*) FROM stack_config`); n != 0 {
		t.Error("its secrets are still kept")
	}
}

func TestTheStateOfTheNewestTrackedRunIsKept(t *testing.T) {
	t.Parallel()
	w := setup(t)
	st := w.create(t, input("shop"))
	at := time.Now().Truncate(time.Microsecond)
	err := w.inst.DB.Write(context.Background(), func(tx *db.Tx) error {
		if err := w.SetState(context.Background(), tx, st.ID, run.Planning, at); err != nil {
			return err
		}
		return w.SetTrackedCommit(context.Background(), tx, st.ID, wire.Commit{SHA: "abc", Message: "m"})
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Get(admin(), "shop")
	if err != nil || got.State != run.Planning || got.StateSetAt == nil || !got.StateSetAt.Equal(at) || got.TrackedCommit.SHA != "abc" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestATrackedCommitGoesWithTheSourceItIsOf(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*stack.Settings){
		"":               func(s *stack.Settings) { s.Autodeploy = true },
		"the branch":     func(s *stack.Settings) { s.Branch = "next" },
		"the repository": func(s *stack.Settings) { s.RepositoryURL = "https://git.example.com/team/other.git" },
	} {
		w := setup(t)
		st := w.create(t, input("shop"))
		err := w.inst.DB.Write(context.Background(), func(tx *db.Tx) error {
			return w.SetTrackedCommit(context.Background(), tx, st.ID, wire.Commit{SHA: "abc"})
		})
		if err != nil {
			t.Fatal(err)
		}
		in := input("shop")
		change(&in.Settings)
		if _, err := w.Update(admin(), "shop", in); err != nil {
			t.Fatal(err)
		}
		got, err := w.Get(admin(), "shop")
		if err != nil || (got.TrackedCommit.SHA == "") != (what != "") {
			t.Errorf("after a change of %q the tracked commit is %q, %v", what, got.TrackedCommit.SHA, err)
		}
	}
}

func TestEveryChangeOfAStackLeavesAnAuditRowWithoutValues(t *testing.T) {
	t.Parallel()
	w := setup(t)
	st := w.create(t, input("shop"))
	for _, do := range []func() error{
		func() error { _, err := w.Update(admin(), "shop", input("shop")); return err },
		func() error { _, err := w.Lock(admin(), "shop", "n"); return err },
		func() error { _, err := w.Unlock(admin(), "shop"); return err },
		func() error {
			_, err := w.SetConfig(admin(), "shop", stack.ConfigInput{ID: "A", Type: stack.EnvironmentVariable, Value: "canary"})
			return err
		},
		func() error { _, err := w.DeleteConfig(admin(), "shop", "A"); return err },
		func() error { _, err := w.Delete(admin(), "shop"); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count(t, `SELECT COUNT(*) FROM audit WHERE subject = $1 AND actor = 'api::ADMIN'`, st.ID); n != 7 {
		t.Errorf("%d audit rows", n)
	}
	if n := w.count(t, `SELECT COUNT(*) FROM event WHERE subject = $1`, st.ID); n != 7 {
		t.Errorf("%d events", n)
	}
	if n := w.count(t, `SELECT (SELECT COUNT(*) FROM audit WHERE instr(data, 'canary') > 0) + (SELECT COUNT(*) FROM event WHERE instr(data, 'canary') > 0)`); n != 0 {
		t.Error("a value is in the audit trail")
	}
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
