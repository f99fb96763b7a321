package worker

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/wire"
)

func TestABackendBlockIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src  string
		line int
		what string
	}{
		"a backend":                   {"\nterraform {\n  backend \"s3\" {\n    bucket = \"b\"\n  }\n}\n", 3, `backend "s3"`},
		"on one line":                 {`terraform { backend "http" {} }`, 1, `backend "http"`},
		"cloud":                       {"terraform {\n  required_version = \">= 1\"\n  cloud {\n  }\n}", 3, "cloud"},
		"behind another block":        {"terraform {\n required_providers {\n  x = { source = \"a/b\" }\n }\n backend \"gcs\" {}\n}", 5, `backend "gcs"`},
		"a name without quotes":       {"terraform {\n  backend local {}\n}", 2, "backend local"},
		"in a second terraform block": {"terraform {}\nterraform {\n  backend \"s3\" {}\n}", 3, `backend "s3"`},
		"behind odd strings":          {"locals {\n a = \"x ${upper(\"}\")} $${ \\\" {\"\n}\nterraform {\n  backend \"s3\" {}\n}", 5, `backend "s3"`},
		"behind a heredoc":            {"locals {\n a = <<-EOT\n  { terraform {\n  EOT\n}\nterraform {\n backend \"s3\" {}\n}", 7, `backend "s3"`},
		"behind a comment":            {"/* {\n{ */ # {\n// {\nterraform {\n backend \"s3\" {}\n}", 5, `backend "s3"`},
		"none":                        {"terraform {\n  required_version = \"1\"\n}\n", 0, ""},
		"in a line comment":           {"terraform {\n  # backend \"s3\" {}\n  // cloud {}\n}", 0, ""},
		"in a comment":                {"terraform {\n /* backend \"s3\" {} */\n}", 0, ""},
		"in a string":                 {"locals { a = \"terraform { backend x {} }\" }", 0, ""},
		"in a heredoc":                {"locals {\n a = <<EOT\nterraform {\n  backend \"s3\" {}\n}\nEOT\n}", 0, ""},
		"in another block":            {"resource \"x\" \"y\" {\n  backend \"s3\" {}\n  terraform {\n cloud {}\n }\n}", 0, ""},
		"deeper":                      {"terraform {\n  x {\n    backend \"s3\" {}\n  }\n}", 0, ""},
		"an attribute":                {"terraform {\n  backend = \"s3\"\n}\nlocals { cloud = { a = 1 } }", 0, ""},
		"never closed":                {"terraform {\n  x = \"${\n", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := scanBackend(c.src)
			if found == nil {
				found = &block{}
			}
			if found.line != c.line || found.block != c.what {
				t.Errorf("found %+v", found)
			}
		})
	}
}

func TestFilesOfTheToolAreSearched(t *testing.T) {
	t.Parallel()
	const native = "terraform {\n  backend \"s3\" {}\n}"
	const asJSON = "{\n \"terraform\": [{\"required_version\": \"1\"}, {\n  \"backend\": {\"s3\": {}}}]\n}"
	for name, c := range map[string]struct {
		file, content string
		suffixes      []string
		found         bool
	}{
		"native":            {"a.tf", native, []string{".tf"}, true},
		"JSON":              {"a.tf.json", asJSON, []string{".tf"}, true},
		"JSON, one block":   {"a.tf.json", `{"terraform":{"cloud":{}}}`, []string{".tf"}, true},
		"JSON without":      {"a.tf.json", `{"terraform":{"required_version":"1"}}`, []string{".tf"}, false},
		"of OpenTofu":       {"a.tofu", native, []string{".tf", ".tofu"}, true},
		"of the other tool": {"a.tofu", native, []string{".tf"}, false},
		"hidden":            {".a.tf", native, []string{".tf"}, false},
		"something else":    {"a.txt", native, []string{".tf"}, false},
		"ours":              {backendFile, backendContent, []string{".tf"}, false},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := findBackend(dir, c.suffixes, backendFile)
		if err != nil || (found != nil) != c.found {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
		if found != nil && found.file != c.file {
			t.Errorf("%s: in %s", name, found.file)
		}
	}
}

func TestOurOwnFileDeclaresABackend(t *testing.T) {
	t.Parallel()
	if found := scanBackend(backendContent); found == nil || found.block != `backend "http"` {
		t.Errorf("our own file is not recognised: %+v", found)
	}
}

func TestAFileThatCoversOursIsRefused(t *testing.T) {
	t.Parallel()
	for binary, refused := range map[string]bool{"tofu": true, "terraform": false} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "spaceport_backend.tofu"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		v := &terraform{project: &project{dir: dir}, binary: binary, suffixes: []string{".tf"}}
		if err := v.writeBackend(); (err != nil) != refused {
			t.Errorf("%s: %v", binary, err)
		}
	}
}

func TestALinkInPlaceOfOurFileIsNotFollowed(t *testing.T) {
	t.Parallel()
	dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, backendFile)); err != nil {
		t.Fatal(err)
	}
	v := &terraform{project: &project{dir: dir}, binary: "terraform", suffixes: []string{".tf"}}
	if err := v.writeBackend(); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(victim); string(data) != "untouched" {
		t.Errorf("the link's target is now %q", data)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, backendFile)); string(data) != backendContent {
		t.Errorf("our file is %q", data)
	}
}

// sink is a destination that remembers how it was written to.
type sink struct {
	bytes.Buffer
	closed bool
}

func (s *sink) Close() error {
	s.closed = true
	return nil
}

func TestCommandsAreFoundAcrossAnyBorder(t *testing.T) {
	t.Parallel()
	text := "one\n::add-mask alpha beta\n::add-masked no\nx ::add-mask no\n:\n::\n\n::add-mask  gamma \nlast line\n::add-mask delta"
	for size := 1; size <= len(text); size++ {
		var learned []string
		dst := &sink{}
		c := &commands{dst: dst, learn: func(words []string) int { learned = append(learned, words...); return 0 }}
		for part := range slices.Chunk([]byte(text), size) {
			if n, err := c.Write(part); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := c.Close(); err != nil || !dst.closed {
			t.Fatal(err)
		}
		if dst.String() != text {
			t.Errorf("in pieces of %d: %q", size, dst.String())
		}
		if got := strings.Join(learned, " "); got != "alpha beta gamma delta" {
			t.Errorf("in pieces of %d, learned %q", size, got)
		}
	}
}

func TestALineIsLearnedBeforeItIsPassedOn(t *testing.T) {
	t.Parallel()
	dst := &sink{}
	c := &commands{dst: dst}
	c.learn = func([]string) int {
		if strings.Contains(dst.String(), "alpha") {
			t.Error("the line was passed on before its words were learned")
		}
		return 0
	}
	_, _ = c.Write([]byte("::add-mask al"))
	_, _ = c.Write([]byte("pha\n"))
	if dst.String() != "::add-mask alpha\n" {
		t.Errorf("passed on %q", dst.String())
	}
}

func TestAPromptIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	dst := &sink{}
	c := &commands{dst: dst, learn: func([]string) int { return 0 }}
	_, _ = c.Write([]byte("line\nEnter a value: "))
	if dst.String() != "line\nEnter a value: " {
		t.Errorf("passed on %q", dst.String())
	}
}

func TestTheFirstEnvironmentIsTheImagesThenTheDelivered(t *testing.T) {
	t.Parallel()
	job := &wire.WorkerJob{
		Environment: []wire.Variable{{Name: "A", Value: "delivered"}, {Name: "B", Value: "x"}, {Name: "SPACELIFT_X", Value: "y"}},
		Unset:       []string{"B", "SPACELIFT_X", "TF_HTTP_ADDRESS"},
	}
	e := newEnviron([]string{"A=image", "IMAGE=yes", "SPACELIFT_POOL=leak", "TF_HTTP_PASSWORD=leak", "HOME=/no/such/home"}, job,
		map[string]string{"TF_HTTP_ADDRESS": "here"}, "/tools", "/home/of/run")
	want := []string{"A=delivered", "HOME=/home/of/run", "IMAGE=yes", "MORE=1", "PATH=/tools:" + defaultPath, "SPACELIFT_X=y", "TF_HTTP_ADDRESS=here"}
	if got := e.list(map[string]string{"MORE": "1"}); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestOutsideAContainerLittleIsTakenOver(t *testing.T) {
	t.Parallel()
	all := []string{"PATH=/bin", "SPACELIFT_POOL_PRIVATE_KEY=k", "AWS_SECRET_ACCESS_KEY=k", "HOME=/root"}
	if got := imageEnvironment(all, false); !slices.Equal(got, []string{"PATH=/bin", "HOME=/root"}) {
		t.Errorf("got %q", got)
	}
	if got := imageEnvironment(all, true); !slices.Equal(got, all) {
		t.Errorf("got %q", got)
	}
}

func TestAnEmptyDifferenceCarriesNothing(t *testing.T) {
	t.Parallel()
	e := newEnviron([]string{"A=1", "HOME="}, &wire.WorkerJob{}, nil, "/tools", "/h")
	e.take([]byte("A=1\x00HOME=/h\x00PATH=/tools:" + defaultPath + "\x00PWD=/x\x00_=/bin/y\x00BASH_FUNC_f%%=() { :; }\x00"))
	if c := e.carry(); len(c.Set) != 0 || len(c.Unset) != 0 {
		t.Errorf("carries %+v", c)
	}
}

func TestWordsAreQuotedForTheShell(t *testing.T) {
	t.Parallel()
	for in, out := range map[string]string{
		"-out=/mnt/workspace/source/x.plan": "-out=/mnt/workspace/source/x.plan",
		"":                                  "''",
		`a["x y"]`:                          `'a["x y"]'`,
		"it's":                              `'it'\''s'`,
		"$(reboot)":                         `'$(reboot)'`,
	} {
		if got := command(in); got != out {
			t.Errorf("%q is quoted as %s", in, got)
		}
	}
}

func TestAProcessesNameMayHoldAnything(t *testing.T) {
	t.Parallel()
	p, ok := parseStat(7, "7 (evil) S 1 2) R 3 4 5 6 7")
	if !ok || p.parent != 3 || p.session != 5 || p.zombie {
		t.Errorf("got %+v, %v", p, ok)
	}
	if _, ok := parseStat(7, "7 (short) R"); ok {
		t.Error("a short row is taken")
	}
}

func TestAProcessThatIsNotYetWhatItWillBeIsFound(t *testing.T) {
	t.Parallel()
	// A subshell has its shell's command line, as a child has before its exec.
	b := setup(t, nil)
	b.job.Command = "(echo ready; read x </dev/null; trap 'exit 5' INT; while :; do :; done)"
	r := b.meanwhile("ready\n", func() { _ = b.dir.Stop(false, "enough") })
	if r.Result != wire.ResultStopped || r.ExitCode == 137 {
		t.Errorf("result %+v", r)
	}
	table := []proc{{pid: os.Getpid(), parent: os.Getpid(), session: 1}, {pid: os.Getpid(), parent: os.Getppid(), session: 1}}
	if late := starting(table[:1], 1); len(late) != 1 {
		t.Errorf("found %v", late)
	}
	if late := starting(table[1:], 1); len(late) != 0 {
		t.Errorf("found %v", late)
	}
}

func TestWordsTooShortToBeMaskedAreNamedBehindTheirLine(t *testing.T) {
	t.Parallel()
	dst := &sink{}
	c := &commands{dst: dst, learn: func([]string) int { return 2 }}
	_, _ = c.Write([]byte("a\n::add-mask x y long-enough\nb\n::add-mask z"))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	want := "a\n::add-mask x y long-enough\n[worker] 2 of these words cannot be masked: a mask has at least 4 bytes\nb\n::add-mask z"
	if dst.String() != want {
		t.Errorf("got %q, want %q", dst.String(), want)
	}
}

// idling is a destination that tells when it was told of silence.
type idling struct {
	sink
	told chan struct{}
}

func (i *idling) Idle() error {
	select {
	case i.told <- struct{}{}:
	default:
	}
	return nil
}

func TestSilenceIsToldToTheMasking(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	dst := &idling{told: make(chan struct{}, 1)}
	p := &pump{src: r, dst: &commands{dst: dst, learn: func([]string) int { return 0 }}, idleAfter: time.Millisecond, hear: func() {}, done: make(chan struct{})}
	go p.run()
	_, _ = w.Write([]byte("the beginning of"))
	<-dst.told
	_ = w.Close()
	<-p.done
	if dst.String() != "the beginning of" || !dst.closed || p.err != nil {
		t.Errorf("%q, %v", dst.String(), p.err)
	}
	_ = r.Close()
}
