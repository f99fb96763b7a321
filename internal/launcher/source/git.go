package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

// config is all the configuration that our git reads.
//
// A repository's attributes can only name filters that configuration defines, so
// with none defined none runs. safe.directory is for file:// sources, whose owner
// needn't be the launcher's user; upload-pack reads it from a file alone.
const config = `[core]
	hooksPath = /dev/null
	fsmonitor = false
	symlinks = true
	autocrlf = false
	askPass =
[credential]
	helper =
[protocol]
	version = 2
[fetch]
	recurseSubmodules = false
[submodule]
	recurse = false
[gc]
	auto = 0
[init]
	defaultBranch = main
[advice]
	detachedHead = false
`

// git runs one command, without a shell, and returns its standard output.
func (c *cache) git(ctx context.Context, env []string, args ...string) (string, error) {
	o := c.f.o
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	text := config
	if u, err := url.Parse(c.request.Repository); err == nil && u.Scheme == "file" {
		text += fmt.Sprintf("[safe]\n\tdirectory = %q\n\tdirectory = %q\n", u.Path, filepath.Join(u.Path, ".git"))
	}
	path := filepath.Join(c.dir, "config")
	if have, err := os.ReadFile(path); err != nil || string(have) != text {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", fault.Wrap(err, fault.Internal, "the source cache cannot be used: %v", err)
		}
	}
	name := o.Git
	if name == "" {
		name = lookPath("git", o.Path)
	}
	if name == "" {
		return "", fault.New(fault.Unsupported, "this launcher's host has no git").Named("source_git").WithHint("install git there")
	}
	cmd := exec.CommandContext(ctx, name, args...)
	if env == nil {
		env = []string{"GIT_DIR=" + filepath.Join(c.dir, "git")}
	}
	protocols := "https:ssh:http"
	if o.AllowFile {
		protocols += ":file"
	}
	cmd.Env = append(env,
		"PATH="+o.Path, "HOME="+filepath.Join(o.Dir, "home"), "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+path, "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL="+protocols, "GIT_LFS_SKIP_SMUDGE=1",
		"GIT_SSH_COMMAND=ssh -oBatchMode=yes -oStrictHostKeyChecking=yes", "GIT_NO_REPLACE_OBJECTS=1",
		"GIT_ADVICE=0", "GIT_OPTIONAL_LOCKS=0",
	)
	cmd.Env = append(cmd.Env, o.Proxies...)
	cmd.Dir = c.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &limited{b: &stderr, left: 64 << 10}
	// git starts helpers; all of them end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Run(); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "", fault.Wrap(err, fault.Unavailable, "git %s took longer than %s", args[0], o.Timeout).Named("source_timeout")
		}
		return "", fault.Wrap(err, fault.Invalid, "git %s failed: %s", args[0], lastLine(stderr.String())).Named("source_git")
	}
	return stdout.String(), nil
}

func lookPath(name, path string) string {
	for dir := range strings.SplitSeq(path, ":") {
		full := filepath.Join(dir, name)
		if info, err := os.Stat(full); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return full
		}
	}
	return ""
}

// lastLine returns what git said, as one line.
func lastLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for _, prefix := range []string{"fatal: ", "error: "} {
		for _, l := range lines {
			if rest, ok := strings.CutPrefix(l, prefix); ok {
				return rest
			}
		}
	}
	if len(lines) == 0 {
		return "it said nothing"
	}
	return lines[len(lines)-1]
}

// limited keeps the first bytes and drops the rest.
type limited struct {
	b    *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.b.Write(p[:n])
	l.left -= n
	return len(p), nil
}
