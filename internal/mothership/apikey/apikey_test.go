package apikey_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/access"
	"github.com/spaceport-iac/spaceport/internal/mothership/apikey"
	"github.com/spaceport-iac/spaceport/internal/mothership/audit"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/session"
)

type world struct {
	db   *db.DB
	path string
	keys *apikey.Service
	log  *session.Service
	now  time.Time
}

func newID() string { return ulid.Make().String() }

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Unix(1_800_000_000, 0), path: filepath.Join(t.TempDir(), "test.db")}
	var err error
	if w.db, err = db.Open(t.Context(), w.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	clock := func() time.Time { return w.now }
	writer, err := audit.New(audit.Options{Now: clock, NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	if w.keys, err = apikey.New(apikey.Options{DB: w.db, Audit: writer, Now: clock, NewID: newID}); err != nil {
		t.Fatal(err)
	}
	if w.log, err = session.New(session.Options{Keys: w.keys, Key: make([]byte, 32), Audience: "https://spaceport.example.com/", Now: clock}); err != nil {
		t.Fatal(err)
	}
	return w
}

func admin() context.Context {
	return access.With(context.Background(), access.Principal{Kind: access.KindAdmin, ID: "root", Admin: true, Remote: "192.0.2.1"})
}

func (w *world) create(t *testing.T, in apikey.Input) apikey.Created {
	t.Helper()
	k, err := w.keys.Create(admin(), in)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAKeyLogsInWithItsSecretAlone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	k := w.create(t, apikey.Input{Name: "ci", Admin: true})
	p, err := w.keys.Authenticate(context.Background(), k.ID, k.Secret)
	if err != nil || p.ID != k.ID || !p.Admin || p.Actor() != "api::"+k.ID {
		t.Fatalf("got %+v, %v", p, err)
	}
	var faults []string
	for _, try := range [][2]string{{k.ID, ""}, {k.ID, k.Secret + "x"}, {k.ID, k.Secret[1:]}, {"NOSUCH", k.Secret}, {"NOSUCH", ""}, {"", ""}} {
		_, err := w.keys.Authenticate(context.Background(), try[0], try[1])
		if !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%q: got %v", try, err)
		}
		faults = append(faults, err.Error())
	}
	for _, f := range faults {
		if f != faults[0] {
			t.Errorf("refusals differ, which tells whether a key exists: %q", faults)
		}
	}
}

func TestTheSecretIsNowhereInTheDatabase(t *testing.T) {
	t.Parallel()
	w := setup(t)
	k := w.create(t, apikey.Input{Name: "ci"})
	var rows int
	err := w.db.Read().QueryRowContext(context.Background(), `SELECT
		(SELECT COUNT(*) FROM api_key WHERE instr(CAST(secret_hash AS TEXT) || name || creator, $1) > 0) + (SELECT COUNT(*) FROM audit WHERE instr(data, $1) > 0)`, k.Secret).Scan(&rows)
	if err != nil || rows != 0 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

func TestADeletedKeyIsRefusedAtOnceWhateverItsSession(t *testing.T) {
	t.Parallel()
	w := setup(t)
	k := w.create(t, apikey.Input{Name: "ci", Space: "root", Role: access.Writer})
	token, err := w.log.Exchange(context.Background(), k.ID, k.Secret)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.log.Verify(context.Background(), token.JWT)
	if err != nil || p.Roles["root"] != access.Writer || p.Admin {
		t.Fatalf("got %+v, %v", p, err)
	}
	if _, err := w.keys.Delete(admin(), k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.log.Verify(context.Background(), token.JWT); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("its session: %v", err)
	}
	if _, err := w.log.Exchange(context.Background(), k.ID, k.Secret); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("its secret: %v", err)
	}
	if _, err := w.keys.Delete(admin(), k.ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if all, err := w.keys.List(admin()); err != nil || len(all) != 0 {
		t.Errorf("listed: %v, %v", all, err)
	}
}

func TestOnlyAnAdministratorHasToDoWithKeys(t *testing.T) {
	t.Parallel()
	w := setup(t)
	k := w.create(t, apikey.Input{Name: "victim"})
	for name, ctx := range map[string]context.Context{
		"nobody": context.Background(),
		"writer": access.With(context.Background(), access.Principal{Kind: access.KindAPIKey, ID: "K", Roles: map[string]access.Role{"root": access.Writer}}),
	} {
		if _, err := w.keys.Create(ctx, apikey.Input{Name: "x", Admin: true}); err == nil {
			t.Errorf("%s made a key", name)
		}
		if _, err := w.keys.Delete(ctx, k.ID); err == nil {
			t.Errorf("%s deleted a key", name)
		}
		if _, err := w.keys.List(ctx); err == nil {
			t.Errorf("%s listed keys", name)
		}
		if _, err := w.keys.Get(ctx, k.ID); err == nil {
			t.Errorf("%s read a key", name)
		}
	}
}

func TestUseIsRecordedNowAndThen(t *testing.T) {
	t.Parallel()
	w := setup(t)
	k := w.create(t, apikey.Input{Name: "ci"})
	use := func() time.Time {
		if _, err := w.keys.Authenticate(context.Background(), k.ID, k.Secret); err != nil {
			t.Fatal(err)
		}
		got, err := w.keys.Get(admin(), k.ID)
		if err != nil || got.LastUsedAt == nil {
			t.Fatalf("%+v, %v", got, err)
		}
		return *got.LastUsedAt
	}
	first := use()
	w.now = w.now.Add(time.Minute)
	if got := use(); !got.Equal(first) {
		t.Error("every login writes to the database")
	}
	w.now = w.now.Add(time.Hour)
	if got := use(); !got.Equal(w.now) {
		t.Errorf("last used at %s, now is %s", got, w.now)
	}
}

func TestAKeyMadeBesideARunningServerIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	beside, err := db.Open(t.Context(), w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = beside.Close() }()
	k, err := apikey.CreateOffline(context.Background(), beside, time.Now, newID, apikey.Input{Name: "first", Admin: true})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := w.keys.Authenticate(context.Background(), k.ID, k.Secret); err != nil || !p.Admin {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestEveryChangeLeavesAnAuditRow(t *testing.T) {
	t.Parallel()
	w := setup(t)
	k := w.create(t, apikey.Input{Name: "ci"})
	if _, err := w.keys.Delete(admin(), k.ID); err != nil {
		t.Fatal(err)
	}
	var text string
	err := w.db.Read().QueryRowContext(context.Background(), `SELECT group_concat(action || ' ' || actor || ' ' || remote, ';') FROM audit WHERE subject = $1 ORDER BY id`, k.ID).Scan(&text)
	if err != nil || strings.Count(text, "admin::root 192.0.2.1") != 2 || !strings.Contains(text, "apikey:create") || !strings.Contains(text, "apikey:delete") {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestAnUnusableInputIsNamed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for code, in := range map[fault.Code]apikey.Input{
		"invalid.name": {Name: "  "},
		"invalid.role": {Name: "x", Role: "owner"},
	} {
		_, err := w.keys.Create(admin(), in)
		if f := fault.As(err); f == nil || f.Code != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
}

func TestANameThatNoHistoryCouldShowIsRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, name := range []string{"", " ", "two\nlines", "a\ttab", "\x1b[31mred", "not \xff text", strings.Repeat("ü", 256)} {
		if _, err := w.keys.Create(admin(), apikey.Input{Name: name}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q is answered %v", name, err)
		}
	}
	w.create(t, apikey.Input{Name: strings.Repeat("ü", 255)})
}
