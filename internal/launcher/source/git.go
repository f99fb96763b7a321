package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
// with none defined none runs. A redirect is never followed by git itself: it
// would go to any host, and with it what the next requests carry. What stalls for
// a minute is given up.
const config = `[core]
	hooksPath = /dev/null
	fsmonitor = false
	symlinks = true
	autocrlf = false
	askPass =
[credential]
	helper =
[http]
	followRedirects = false
	lowSpeedLimit = 1
	lowSpeedTime = 60
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

// configText is the configuration for one repository. It holds no secret: git asks
// the helper, for the credential's own host alone, and the helper reads a file that
// is in memory for as long as the fetch takes.
func (c *cache) configText() string {
	text := config
	switch {
	case c.at.scheme == "file":
		// The owner of a file:// source needn't be the launcher's user; upload-pack
		// reads this from a file alone.
		path := strings.TrimPrefix(c.at.url, "file://")
		text += fmt.Sprintf("[safe]\n\tdirectory = %q\n\tdirectory = %q\n", path, filepath.Join(path, ".git"))
	case c.at.scheme != "ssh" && !c.credential.none():
		text += fmt.Sprintf("[credential %q]\n\thelper = %q\n", c.at.scheme+"://"+c.at.host,
			`!f() { test "$1" = get && cat `+credentialFD+`; }; f`)
	}
	return text
}

// call is one git command. Only the last three fields are for the network.
type call struct {
	args  []string
	env   []string  // which repository; the cache's own if nil
	stdin io.Reader // none if nil

	remote bool // credentials and connections
	say    func(string)
	trace  bool // tell what headers came
}

// git runs a command without a shell and returns its standard output.
func (c *cache) git(ctx context.Context, env []string, args ...string) (string, error) {
	return c.run(ctx, call{args: args, env: env})
}

func (c *cache) run(ctx context.Context, do call) (string, error) {
	o := c.f.o
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	config := filepath.Join(c.dir, "config")
	if err := writeIfOther(config, []byte(c.configText())); err != nil {
		return "", unusable(err)
	}
	name := o.Git
	if name == "" {
		name = lookPath("git", o.Path)
	}
	if name == "" {
		return "", fault.New(fault.Unsupported, "this launcher's host has no git").Named("source_git").WithHint("install git there")
	}
	cmd := exec.CommandContext(ctx, name, do.args...)
	env := do.env
	if env == nil {
		env = []string{"GIT_DIR=" + filepath.Join(c.dir, "git")}
	}
	// Nothing of the launcher's own environment: it may hold the operator's secrets.
	cmd.Env = append(env,
		"PATH="+o.Path, "HOME="+filepath.Join(o.Dir, "home"), "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+config, "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL="+c.at.scheme, "GIT_LFS_SKIP_SMUDGE=1",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_ADVICE=0", "GIT_OPTIONAL_LOCKS=0",
	)
	cmd.Dir, cmd.Stdin = c.dir, do.stdin
	if do.remote {
		done, err := c.connect(ctx, cmd, do.trace)
		if err != nil {
			return "", err
		}
		defer done()
	}
	var stdout bytes.Buffer
	stderr := &output{say: do.say, every: o.ProgressEvery, now: o.Now}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	// git starts helpers; all of them end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Run(); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "", fault.Wrap(err, fault.Unavailable, "git %s took longer than %s with %s", verb(do.args), o.Timeout, c.at.shown()).Named("source_timeout").
				WithHint("check the way from the worker to %s", c.at.host)
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", &failure{verb: verb(do.args), said: c.hide(stderr.text()), err: err}
	}
	return stdout.String(), nil
}

// verb is the command among git's arguments.
func verb(args []string) string {
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			return arg
		}
	}
	return ""
}

// connect gives a command what it needs to reach another host. done takes it back.
func (c *cache) connect(ctx context.Context, cmd *exec.Cmd, trace bool) (done func(), err error) {
	o := c.f.o
	done = func() {}
	switch c.at.scheme {
	case "ssh":
		command, end, err := c.ssh(ctx)
		if err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND="+command, "GIT_SSH_VARIANT=ssh")
		return end, nil
	case "https", "http":
		cmd.Env = append(cmd.Env, o.Proxies...)
		if o.CAFile != "" {
			cmd.Env = append(cmd.Env, "GIT_SSL_CAINFO="+o.CAFile)
		}
		if trace { // git leaves out what authenticates
			cmd.Env = append(cmd.Env, "GIT_TRACE_CURL=1", "GIT_TRACE_CURL_NO_DATA=1", "GIT_TRACE_REDACT=1")
		}
		if !c.credential.none() {
			file, err := c.credential.tokenFile()
			if err != nil {
				return nil, err
			}
			cmd.ExtraFiles = []*os.File{file} // descriptor 3
			done = func() { _ = file.Close() }
		}
	}
	return done, nil
}

// ssh returns the command that git reaches a host by. It reads no configuration of
// the system or of a user, knows no key but the credential's, and believes no host
// whose key was not told to it beforehand.
func (c *cache) ssh(ctx context.Context) (command string, done func(), err error) {
	known := c.f.o.KnownHosts
	identity := "none"
	done = func() {}
	if !c.credential.none() {
		known += "\n" + c.credential.c.KnownHosts
		keys, err := c.credential.keyring(ctx)
		if err != nil {
			return "", nil, err
		}
		identity, done = keys.socket(), keys.close
	}
	file := filepath.Join(c.dir, "known_hosts")
	if err := writeIfOther(file, []byte(known+"\n")); err != nil {
		done()
		return "", nil, unusable(err)
	}
	options := []string{
		"BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=" + file, "GlobalKnownHostsFile=none", "UpdateHostKeys=no",
		"IdentityAgent=" + identity, "IdentityFile=none", "PreferredAuthentications=publickey", "ForwardAgent=no", "ClearAllForwardings=yes",
		"PermitLocalCommand=no", "ControlMaster=no", "ControlPath=none", "ConnectTimeout=30", "ServerAliveInterval=15", "ServerAliveCountMax=4", "LogLevel=ERROR",
	}
	words := []string{"ssh", "-F", "none"}
	for _, option := range options {
		// For ssh, which replaces what begins with %, and for the shell that git starts it by.
		words = append(words, "-o", "'"+strings.ReplaceAll(strings.ReplaceAll(option, "%", "%%"), "'", `'\''`)+"'")
	}
	return strings.Join(words, " "), done, nil
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

func unusable(err error) error {
	return fault.Wrap(err, fault.Internal, "the source cache cannot be used: %v", err).Named("source_cache")
}
