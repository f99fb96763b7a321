package dispatch

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// A launcher that is neither root nor the run's user cannot tidy up without own, and
// no run of any launcher gets far without worker.
func TestTheWorkersProgramKnowsWhatLaunchersCall(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	uid, gid := strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid())
	if code, known := Main([]string{"own", "empty", uid, gid, tree}); !known || code != 0 {
		t.Errorf("own gave %d, %v", code, known)
	}
	if left, err := os.ReadDir(tree); err != nil || len(left) != 0 {
		t.Errorf("the tree still has %v, %v", left, err)
	}
	env := filepath.Join(t.TempDir(), "env")
	if code, known := Main([]string{"worker", "env-dump", env}); !known || code != 0 {
		t.Errorf("env-dump gave %d, %v", code, known)
	}
	if st, err := os.Stat(env); err != nil || st.Size() == 0 {
		t.Errorf("no environment was written: %v", err)
	}
	for _, args := range [][]string{{"worker"}} {
		if code, known := Main(args); !known || code == 0 {
			t.Errorf("%v gave %d, %v; it has nothing to do and must say so", args, code, known)
		}
	}
	for _, args := range [][]string{nil, {"serve"}, {""}} {
		if _, known := Main(args); known {
			t.Errorf("%q is known", args)
		}
	}
}
