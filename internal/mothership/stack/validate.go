package stack

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

// Limits of what a person may give.
const (
	maxName        = 255
	maxDescription = 16 << 10
	maxLabels      = 100
	maxHooks       = 100
	maxHook        = 64 << 10
	maxSparse      = 100
)

func invalid(code, message string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, message, args...).Named(code)
}

// HookNames lists the names that Settings.Hooks may have.
func HookNames() []string {
	return []string{
		"before_init", "after_init", "before_plan", "after_plan", "before_apply", "after_apply",
		"before_perform", "after_perform", "before_destroy", "after_destroy", "after_run",
	}
}

// clean trims and checks what a person gave.
func (in *Input) clean(allowFile bool) error {
	in.Name = strings.TrimSpace(in.Name)
	if in.Name == "" || len(in.Name) > maxName || strings.ContainsFunc(in.Name, unicode.IsControl) {
		return invalid("stack_name", "the name of a stack has 1 to %d characters, none of them a control character", maxName)
	}
	switch in.StateMode {
	case wire.StateManaged, wire.StateSealed, wire.StateExternal:
	default:
		return invalid("state_mode", "%q is not a way to keep state", in.StateMode).
			WithHint("choose managed, sealed or external")
	}
	return in.Settings.clean(allowFile)
}

func (s *Settings) clean(allowFile bool) error {
	if len(s.Description) > maxDescription {
		return invalid("stack_description", "the description of a stack has at most %d bytes", maxDescription)
	}
	for _, check := range []func() error{
		func() error { return checkRepository(s.CloneURL(), allowFile) },
		func() error { return checkBranch(s.Branch) },
		s.cleanProjectRoot, s.cleanSparse, s.checkImage, s.cleanLabels, s.cleanVendor, s.checkHooks,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkRepository accepts what launchers fetch from. A credential in the URL is
// refused: URLs are shown, logged and passed to runs. The user name of an ssh
// address is no secret.
func checkRepository(text string, allowFile bool) error {
	const hint = "give the address to clone from, such as https://git.example.com/team/infra.git or git@git.example.com:team/infra.git"
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return invalid("repository", "the stack has no usable repository URL").WithHint(hint)
	}
	scheme, host := wire.RepositoryHost(text)
	if scheme == "ssh" && host != "" && !strings.Contains(text, "://") {
		return nil // git's short form
	}
	u, err := url.Parse(text)
	if err != nil {
		// The parser's error quotes its input, which may hold a password.
		return invalid("repository", "the repository URL cannot be read").WithHint(hint)
	}
	if _, password := u.User.Password(); password || (u.User != nil && scheme != "ssh") {
		return invalid("repository_credentials", "the repository URL holds a user name or password").
			WithHint("URLs are shown and logged: keep them in a VCS integration")
	}
	switch u.Scheme {
	case "https":
	case "http":
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return invalid("repository", "the repository URL is plain http, which is for this host alone").WithHint(hint)
		}
	case "file":
		if !allowFile {
			return invalid("repository_file", "the repository is a file, and this server does not allow that").
				WithHint("start the server with --allow-file-source, or %s", hint)
		}
		if u.Host != "" || !path.IsAbs(u.Path) || path.Clean(u.Path) != u.Path {
			return invalid("repository", "the repository's file URL needs an absolute path").WithHint("such as file:///srv/git/infra.git")
		}
		return nil
	case "ssh":
		// ssh would take what begins with a dash for an option.
		if strings.HasPrefix(u.User.Username(), "-") || strings.HasPrefix(u.Hostname(), "-") {
			return invalid("repository", "the repository %q is not a URL that launchers fetch from", text).WithHint(hint)
		}
	case wire.PrivateScheme:
		if strings.Trim(u.Path, "/") == "" || path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") {
			return invalid("repository", "the repository %q has no path", text).WithHint("such as private://name/team/infra.git")
		}
	default:
		return invalid("repository", "the repository %q is not a URL that launchers fetch from", text).WithHint(hint)
	}
	if u.Host == "" || u.Fragment != "" || u.RawQuery != "" {
		return invalid("repository", "the repository %q is not a URL that launchers fetch from", text).WithHint(hint)
	}
	return nil
}

// checkBranch refuses what git would not accept as a branch, first of all a name
// that git would read as an option.
func checkBranch(b string) error {
	bad := b == "" || len(b) > maxName || strings.HasPrefix(b, "-") || strings.HasPrefix(b, "/") || strings.HasSuffix(b, "/") ||
		strings.HasSuffix(b, ".") || strings.HasSuffix(b, ".lock") || strings.Contains(b, "..") || strings.Contains(b, "//") ||
		strings.Contains(b, "@{") || strings.ContainsAny(b, " ~^:?*[\\") || strings.ContainsFunc(b, unicode.IsControl)
	if bad {
		return invalid("branch", "%q is not the name of a branch", b)
	}
	return nil
}

// cleanPath returns a relative path below the root it is for, in its shortest
// form, and whether it is one.
func cleanPath(p string) (string, bool) {
	if p == "" || strings.ContainsFunc(p, unicode.IsControl) || strings.Contains(p, "\\") || path.IsAbs(p) {
		return "", false
	}
	c := path.Clean(p)
	if c == "." || c == ".." || strings.HasPrefix(c, "../") {
		return "", false
	}
	return c, true
}

func (s *Settings) cleanProjectRoot() error {
	root := strings.Trim(s.ProjectRoot, "/")
	if root == "" || root == "." {
		s.ProjectRoot = ""
		return nil
	}
	clean, ok := cleanPath(root)
	if !ok {
		return invalid("project_root", "the project root %q is not a path below the repository", s.ProjectRoot)
	}
	s.ProjectRoot = clean
	return nil
}

// cleanSparse puts the paths of a sparse checkout into their shortest form.
func (s *Settings) cleanSparse() error {
	if len(s.GitSparseCheckoutPaths) > maxSparse {
		return invalid("sparse_checkout", "a stack has at most %d sparse checkout paths", maxSparse)
	}
	var paths []string
	for _, p := range s.GitSparseCheckoutPaths {
		clean, ok := cleanPath(strings.Trim(p, "/"))
		if !ok || len(clean) > maxFilePath {
			return invalid("sparse_checkout", "the sparse checkout path %q is not a path below the repository", p)
		}
		if !slices.Contains(paths, clean) {
			paths = append(paths, clean)
		}
	}
	s.GitSparseCheckoutPaths = paths
	return nil
}

func (s *Settings) checkImage() error {
	if len(s.RunnerImage) > 512 || strings.HasPrefix(s.RunnerImage, "-") ||
		strings.ContainsFunc(s.RunnerImage, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return invalid("runner_image", "%q is not the name of an image", s.RunnerImage)
	}
	return nil
}

func (s *Settings) cleanLabels() error {
	if len(s.Labels) > maxLabels {
		return invalid("labels", "a stack has at most %d labels", maxLabels)
	}
	labels := []string{}
	for _, l := range s.Labels {
		l = strings.TrimSpace(l)
		if l == "" || len(l) > maxName || strings.ContainsFunc(l, unicode.IsControl) {
			return invalid("labels", "a label has 1 to %d characters, none of them a control character", maxName)
		}
		if !slices.Contains(labels, l) {
			labels = append(labels, l)
		}
	}
	s.Labels = labels
	return nil
}

func (s *Settings) cleanVendor() error {
	if s.Vendor.Name == "" {
		s.Vendor.Name = VendorTerraform
	}
	switch s.Vendor.Name {
	case VendorTerraform, VendorOpenTofu, VendorCustom:
	default:
		return fault.New(fault.Unsupported, "the vendor %q is not supported", s.Vendor.Name).Named("vendor").
			WithHint("choose terraform, opentofu or custom")
	}
	for _, text := range []string{s.Vendor.Version, s.Vendor.Workspace} {
		// Both end up as words of a command line.
		if len(text) > 128 || strings.HasPrefix(text, "-") || strings.ContainsFunc(text, unicode.IsControl) {
			return invalid("vendor", "%q is not a version or workspace", text)
		}
	}
	if strings.ContainsAny(s.Vendor.Workspace, " /\\") {
		return invalid("vendor", "%q is not the name of a workspace", s.Vendor.Workspace)
	}
	return nil
}

func (s *Settings) checkHooks() error {
	for name, hooks := range s.Hooks {
		if !slices.Contains(HookNames(), name) {
			return invalid("hook", "there is no hook %q", name).WithHint("hooks are %s", strings.Join(HookNames(), ", "))
		}
		if len(hooks) > maxHooks {
			return invalid("hook", "there are more than %d commands in %s", maxHooks, name)
		}
		for i, h := range hooks {
			if strings.TrimSpace(h) == "" || len(h) > maxHook || strings.ContainsRune(h, 0) {
				return invalid("hook", "command %d of %s is empty, longer than %d bytes, or holds a null byte", i+1, name, maxHook)
			}
		}
	}
	return nil
}

// checkPlace checks, in the transaction, that space, pool and VCS integration are
// there and belong together.
func (in *Input) checkPlace(ctx context.Context, tx *db.Tx) error {
	var found bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM space WHERE id = $1)`, in.Space).Scan(&found); err != nil {
		return fmt.Errorf("look for space: %w", err)
	}
	if !found {
		return invalid("space", "there is no space %q", in.Space)
	}
	if err := in.checkIntegration(ctx, tx); err != nil {
		return err
	}
	if in.Pool == "" {
		return nil
	}
	var space string
	err := tx.QueryRowContext(ctx, `SELECT space FROM pool WHERE id = $1 AND deleted_at IS NULL`, in.Pool).Scan(&space)
	if errors.Is(err, sql.ErrNoRows) {
		return invalid("pool", "there is no worker pool %q", in.Pool)
	}
	if err != nil {
		return fmt.Errorf("look for pool: %w", err)
	}
	if space != in.Space {
		return invalid("pool", "worker pool %q is in space %q, and the stack is in space %q", in.Pool, space, in.Space)
	}
	return nil
}

// checkIntegration checks that the integration is for the repository's host: its
// secret goes nowhere else.
func (in *Input) checkIntegration(ctx context.Context, tx *db.Tx) error {
	id := in.Settings.VCSIntegration
	if id == "" {
		return nil
	}
	var space, host, public string
	err := tx.QueryRowContext(ctx, `SELECT space, host, public_key FROM vcs_integration WHERE id = $1`, id).Scan(&space, &host, &public)
	if errors.Is(err, sql.ErrNoRows) {
		return invalid("vcs_integration", "there is no VCS integration %q", id)
	}
	if err != nil {
		return fmt.Errorf("look for VCS integration: %w", err)
	}
	if space != in.Space {
		return invalid("vcs_integration", "VCS integration %q is in space %q, and the stack is in space %q", id, space, in.Space)
	}
	scheme, at := wire.RepositoryHost(in.Settings.CloneURL())
	if at != host {
		return invalid("vcs_integration", "VCS integration %q is for %s, and the repository is at %s", id, host, at)
	}
	if scheme != wire.PrivateScheme && (scheme == "ssh") != (public != "") {
		return invalid("vcs_integration", "VCS integration %q has a secret that cannot be used by %s", id, scheme).
			WithHint("a token is for https, an SSH key for ssh")
	}
	return nil
}
