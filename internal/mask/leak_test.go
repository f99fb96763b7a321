package mask

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the masked logs of testdata/leaks anew")

// TestNothingOfASecretIsLeftInWhatToolsPrint: testdata/leaks has a directory for
// each secret with what real tools printed of it, and what is left after masking.
func TestNothingOfASecretIsLeftInWhatToolsPrint(t *testing.T) {
	t.Parallel()
	logs, err := filepath.Glob("testdata/leaks/*/*.log")
	if err != nil || len(logs) == 0 {
		t.Fatal("there is no corpus", err)
	}
	for _, path := range logs {
		secret := read(t, filepath.Join(filepath.Dir(path), "secret"))
		m := New(Options{Secrets: []string{secret}})
		got := m.String(read(t, path))
		want := strings.TrimSuffix(path, ".log") + ".masked"
		if *update {
			if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got != read(t, want) {
			t.Errorf("%s is not masked as %s says: run this test with -update, and look at what changed", path, want)
		}
		telling := splitLines(strings.TrimSpace(secret))
		if v := values(strings.TrimSpace(secret), telling); len(v) > 0 {
			telling = splitLines(strings.Join(v, "\n")) // of a document, the names of fields may stay
		}
		for _, line := range telling {
			for _, window := range windows(strings.TrimSpace(line)) {
				if strings.Contains(got, window) {
					t.Errorf("%s: %q is left", path, window)
				}
			}
		}
		size := 0
		if cut := inPieces(t, m, read(t, path), func() int { size = size%13 + 1; return size }); cut != got {
			t.Errorf("%s: in pieces it is masked in another way", path)
		}
	}
}

// windows are all pieces of a line that would tell much of it.
func windows(line string) (all []string) {
	const wide = 7
	for i := 0; i+wide <= len(line); i++ {
		all = append(all, line[i:i+wide])
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
