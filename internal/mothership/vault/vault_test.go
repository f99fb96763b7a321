package vault_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"

	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/vault"
)

func setup(t *testing.T) (*db.DB, *secrets.Keeper, *vault.Keeper) {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	root := localsecrets.NewKeeper([32]byte{1, 2, 3})
	t.Cleanup(func() { _ = root.Close() })
	return d, root, open(t, d, root)
}

func open(t *testing.T, d *db.DB, root vault.Root) *vault.Keeper {
	t.Helper()
	k, err := vault.Open(t.Context(), vault.Options{DB: d, Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAValueIsOpenedForItsPurposeAlone(t *testing.T) {
	t.Parallel()
	_, _, k := setup(t)
	ctx := context.Background()
	sealed, err := k.Wrap(ctx, "pool.token:A", []byte("canary"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("canary")) {
		t.Error("the ciphertext shows the value")
	}
	if got, err := k.Unwrap(ctx, "pool.token:A", sealed); err != nil || string(got) != "canary" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := k.Unwrap(ctx, "pool.token:B", sealed); !errors.Is(err, vault.ErrUnwrap) {
		t.Errorf("opened for another row: %v", err)
	}
	for i := range sealed {
		altered := bytes.Clone(sealed)
		altered[i] ^= 1
		if _, err := k.Unwrap(ctx, "pool.token:A", altered); !errors.Is(err, vault.ErrUnwrap) {
			t.Fatalf("opened with byte %d altered: %v", i, err)
		}
		if _, err := k.Unwrap(ctx, "pool.token:A", sealed[:i]); !errors.Is(err, vault.ErrUnwrap) {
			t.Fatalf("opened when cut to %d bytes: %v", i, err)
		}
	}
}

func TestTwoCiphertextsOfOneValueDiffer(t *testing.T) {
	t.Parallel()
	_, _, k := setup(t)
	a, _ := k.Wrap(context.Background(), "x", []byte("same"))
	b, _ := k.Wrap(context.Background(), "x", []byte("same"))
	if bytes.Equal(a, b) {
		t.Error("equal values can be told from their ciphertexts")
	}
}

func TestValuesOutliveTheProcessAndNeedItsRoot(t *testing.T) {
	t.Parallel()
	d, root, k := setup(t)
	ctx := context.Background()
	sealed, err := k.Wrap(ctx, "x", []byte("kept"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := open(t, d, root).Unwrap(ctx, "x", sealed); err != nil || string(got) != "kept" {
		t.Errorf("after a restart: got %q, %v", got, err)
	}
	other := localsecrets.NewKeeper([32]byte{9})
	t.Cleanup(func() { _ = other.Close() })
	if _, err := vault.Open(ctx, vault.Options{DB: d, Root: other}); err == nil {
		t.Error("another root opened the data key")
	}
}

func BenchmarkUnwrap(b *testing.B) {
	d, err := db.Open(b.Context(), filepath.Join(b.TempDir(), "test.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	k, err := vault.Open(b.Context(), vault.Options{DB: d, Root: localsecrets.NewKeeper([32]byte{1})})
	if err != nil {
		b.Fatal(err)
	}
	sealed, _ := k.Wrap(b.Context(), "x", make([]byte, 64))
	for b.Loop() {
		if _, err := k.Unwrap(b.Context(), "x", sealed); err != nil {
			b.Fatal(err)
		}
	}
}
