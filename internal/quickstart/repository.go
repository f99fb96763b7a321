package quickstart

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

//go:embed all:template
var template embed.FS

// makeRepository makes a git repository of the template, or goes on with the one
// that is there: a person may have committed changes to it.
func (s *session) makeRepository(ctx context.Context) (string, map[string]any, error) {
	dir := s.dir.repo()
	git, err := s.opts.LookPath("git")
	if err != nil {
		return "", nil, fault.Wrap(err, fault.NotFound, "git is not on this machine's PATH").WithHint("install git")
	}
	data := pairs("dir", dir)
	if there, err := os.ReadDir(dir); err == nil && len(there) > 0 {
		head, err := s.git(ctx, git, dir, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch)
		if err != nil {
			// Whatever it is, a person's work may lie in it.
			return "", nil, fault.Wrap(err, fault.Conflict, "%s is no git repository with a branch %s", dir, branch).
				WithHint("commit to that branch, or move the directory away for a new one")
		}
		return "going on with repository " + dir + " at " + short(head), data, nil
	}
	// Made beside its place and moved there when it is whole: git that is killed
	// halfway leaves locks behind, on which every later start would stumble.
	half := dir + ".new"
	if err := os.RemoveAll(half); err != nil {
		return "", nil, fmt.Errorf("remove what an earlier start left: %w", err)
	}
	if err := unpackTemplate(half); err != nil {
		return "", nil, err
	}
	// symbolic-ref instead of `init -b`, which older versions of git lack.
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"symbolic-ref", "HEAD", "refs/heads/" + branch},
		{"add", "--all"},
		{"commit", "--quiet", "--message", "A small configuration to begin with"},
	} {
		if _, err := s.git(ctx, git, half, args...); err != nil {
			return "", nil, err
		}
	}
	if err := os.Rename(half, dir); err != nil {
		return "", nil, fmt.Errorf("move the repository to its place: %w", err)
	}
	return "repository " + dir + " with a small configuration", data, nil
}

// git runs git in dir without the person's own configuration: their hooks,
// signing and templates have no business here.
func (s *session) git(ctx context.Context, git, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, git, args...)
	cmd.Dir = dir
	cmd.Env = inherited(
		s.opts.Environ,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir),
		"GIT_AUTHOR_NAME=Spaceport quickstart", "GIT_AUTHOR_EMAIL=quickstart@localhost",
		"GIT_COMMITTER_NAME=Spaceport quickstart", "GIT_COMMITTER_EMAIL=quickstart@localhost",
	)
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "git %s failed in %s: %s", args[0], dir, printable(strings.ReplaceAll(text, "\n", " ")))
	}
	return text, nil
}

func unpackTemplate(dir string) error {
	root, err := fs.Sub(template, "template")
	if err != nil {
		return fmt.Errorf("open the repository's template: %w", err)
	}
	return fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, name)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o644)
	})
}

func short(sha string) string { return sha[:min(len(sha), 10)] }

// makeStack makes the stack, or brings the one that is there in line with what
// this start uses.
func (s *session) makeStack(ctx context.Context) (string, map[string]any, error) {
	spec := StackSpec{
		Name: stackName, Description: "Made by the quickstart.", Pool: s.pool.ID,
		RepositoryURL: (&url.URL{Scheme: "file", Path: s.dir.repo()}).String(), Branch: branch,
		RunnerImage: s.image, Tool: s.tool,
	}
	stack, err := s.api.StackByID(ctx, stackName)
	if err != nil {
		return "", nil, err
	}
	said := "going on with stack " + stackName
	if stack == nil {
		stack, err = s.api.CreateStack(ctx, spec)
		said = "stack " + stackName + " is made: sealed state, attached to the pool"
	} else {
		stack, err = s.api.UpdateStack(ctx, stack.ID, spec)
	}
	if err != nil {
		return "", nil, err
	}
	s.stack = stack
	return said, pairs("stack", stack.ID), nil
}
