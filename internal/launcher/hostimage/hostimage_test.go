package hostimage

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

func build(t *testing.T, binaries ...string) (map[string]*tar.Header, []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := Build(t.Context(), &b, binaries); err != nil {
		t.Fatal(err)
	}
	found := map[string]*tar.Header{}
	for r := tar.NewReader(bytes.NewReader(b.Bytes())); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found, b.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
		name := "/" + strings.TrimSuffix(h.Name, "/")
		if _, twice := found[name]; twice {
			t.Errorf("%s is in the image twice", name)
		}
		if _, ok := found[path.Dir(name)]; !ok && path.Dir(name) != "/" {
			t.Errorf("%s comes before its directory", name)
		}
		found[name] = h
	}
}

// resolve follows the image's links to a file.
func resolve(found map[string]*tar.Header, p string) *tar.Header {
	parts := strings.Split(strings.Trim(p, "/"), "/")
	here := "/"
	for hops := 0; len(parts) > 0 && hops < 100; hops++ {
		next := path.Join(here, parts[0])
		parts = parts[1:]
		h := found[next]
		if h == nil {
			return nil
		}
		if h.Typeflag == tar.TypeSymlink {
			target := h.Linkname
			if !path.IsAbs(target) {
				target = path.Join(here, target)
			}
			parts = append(strings.Split(strings.Trim(target, "/"), "/"), parts...)
			here = "/"
			continue
		}
		here = next
	}
	return found[here]
}

func TestAnImageHoldsAProgramWithItsLoaderLibrariesAndUsers(t *testing.T) {
	t.Parallel()
	ls, err := exec.LookPath("ls")
	if err != nil {
		t.Fatal(err)
	}
	found, _ := build(t, ls)
	if h := resolve(found, ls); h == nil || h.Typeflag != tar.TypeReg || h.Mode != 0o755 {
		t.Errorf("%s is not an executable file: %+v", ls, h)
	}
	// What the loader itself lists must be in.
	out, err := exec.Command("ldd", ls).Output()
	if err != nil {
		t.Fatalf("list the libraries of ls: %v", err)
	}
	for _, word := range strings.Fields(string(out)) {
		if path.IsAbs(word) && resolve(found, word) == nil {
			t.Errorf("%s is missing", word)
		}
	}
	if h := found["/tmp"]; h == nil || h.Mode != 0o1777 {
		t.Errorf("/tmp is %+v", h)
	}
	if h := found["/home/spacelift"]; h == nil || h.Uid != 1983 {
		t.Errorf("the run's home is %+v", h)
	}
}

func TestTheSameFilesGiveTheSameImage(t *testing.T) {
	t.Parallel()
	binaries, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	_, a := build(t, binaries...)
	_, b := build(t, binaries...)
	if !bytes.Equal(a, b) {
		t.Error("two builds differ")
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	t.Parallel()
	err := Build(t.Context(), io.Discard, []string{"/nowhere/at-all"})
	if err == nil || !strings.Contains(err.Error(), "/nowhere/at-all") {
		t.Errorf("got %v", err)
	}
}
