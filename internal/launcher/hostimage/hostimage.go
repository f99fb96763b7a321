package hostimage

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Default returns the host's paths of a shell and of the usual small utilities,
// as far as they are installed. Without a shell it fails.
func Default() ([]string, error) {
	var found []string
	for _, name := range []string{
		"sh", "busybox", "ps", "kill", "setsid", "env", "id", "whoami", "uname", "date", "sleep", "timeout",
		"cat", "ls", "cp", "mv", "rm", "ln", "mkdir", "rmdir", "mkfifo", "touch", "chmod", "stat", "readlink", "mktemp",
		"echo", "printf", "true", "false", "test", "head", "tail", "wc", "sort", "tr", "cut", "tee", "seq", "yes", "dd",
		"truncate", "grep", "sed", "find", "base64", "sha256sum", "basename", "dirname",
	} {
		p, err := exec.LookPath(name)
		if err != nil {
			if name == "sh" {
				return nil, fmt.Errorf("make a runner image from this host: %w", err)
			}
			continue
		}
		found = append(found, p)
	}
	return found, nil
}

// Build writes the image's root file system as a tar. The binaries are absolute
// paths of this host; each keeps its place, with the shared libraries and the
// interpreter that it needs. The same files give the same bytes.
func Build(ctx context.Context, w io.Writer, binaries []string) error {
	c := collection{}
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib64"} {
		if err := c.add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("collect %s: %w", dir, err)
		}
	}
	for _, b := range binaries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.addProgram(b); err != nil {
			return fmt.Errorf("collect %s: %w", b, err)
		}
	}
	if err := c.add("/etc/ssl/certs/ca-certificates.crt"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("collect the root certificates: %w", err)
	}
	c.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nspacelift:x:1983:1983:spacelift:/home/spacelift:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
	c.text("/etc/group", "root:x:0:\nspacelift:x:1983:\nnogroup:x:65534:\n")
	c.text("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
	c.dir("/root", 0o700, 0)
	c.dir("/home/spacelift", 0o755, 1983)
	c.dir("/tmp", 0o1777, 0)
	c.dir("/var/tmp", 0o1777, 0)
	c.dir("/mnt", 0o755, 0)
	return c.write(ctx, w)
}

// Ensure imports the image into the engine unless it is there, and returns its
// name: the repository and a tag that stands for the content.
func Ensure(ctx context.Context, api *client.Client, repository string, binaries []string) (string, error) {
	f, err := os.CreateTemp("", "spaceport-image-")
	if err != nil {
		return "", fmt.Errorf("make a runner image: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sum := sha256.New()
	if err := Build(ctx, io.MultiWriter(f, sum), binaries); err != nil {
		return "", fmt.Errorf("make a runner image: %w", err)
	}
	ref := repository + ":" + hex.EncodeToString(sum.Sum(nil))[:16]
	if _, err := api.ImageInspect(ctx, ref); err == nil {
		return ref, nil
	} else if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("look for the runner image: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("make a runner image: %w", err)
	}
	return ref, Import(ctx, api, ref, f)
}

// Import hands a root file system's tar to the engine under a name.
func Import(ctx context.Context, api *client.Client, ref string, rootfs io.Reader) error {
	resp, err := api.ImageImport(ctx, client.ImageImportSource{Source: rootfs, SourceName: "-"}, ref, client.ImageImportOptions{
		Changes: []string{"USER 1983:1983"},
	})
	if err != nil {
		return fmt.Errorf("import the runner image: %w", err)
	}
	defer resp.Close()
	// The engine answers while it works; only at the end is the image there.
	if _, err := io.Copy(io.Discard, resp); err != nil {
		return fmt.Errorf("import the runner image: %w", err)
	}
	if _, err := api.ImageInspect(ctx, ref); err != nil {
		return fmt.Errorf("import the runner image: %w", err)
	}
	return nil
}

// entry is one name in the image.
type entry struct {
	header tar.Header
	source string // a host file to copy, else data is the content
	data   string
}

// collection is the image by absolute path.
type collection map[string]entry

func (c collection) dir(p string, mode int64, owner int) {
	c.parents(p)
	c[p] = entry{header: tar.Header{Typeflag: tar.TypeDir, Name: p[1:] + "/", Mode: mode, Uid: owner, Gid: owner}}
}

func (c collection) parents(p string) {
	for up := path.Dir(p); up != "/"; up = path.Dir(up) {
		if _, ok := c[up]; ok {
			return
		}
		c[up] = entry{header: tar.Header{Typeflag: tar.TypeDir, Name: up[1:] + "/", Mode: 0o755}}
	}
}

func (c collection) text(p, content string) {
	c.parents(p)
	c[p] = entry{header: tar.Header{Typeflag: tar.TypeReg, Name: p[1:], Mode: 0o644, Size: int64(len(content))}, data: content}
}

// write puts the collection into w in the order of names, so that a directory
// comes before what is in it.
func (c collection) write(ctx context.Context, w io.Writer) error {
	names := make([]string, 0, len(c))
	for name := range c {
		names = append(names, name)
	}
	slices.Sort(names)
	tw := tar.NewWriter(w)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := c[name]
		e.header.ModTime = time.Unix(0, 0)
		e.header.Format = tar.FormatPAX
		if err := tw.WriteHeader(&e.header); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := e.copy(tw); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return tw.Close()
}

func (e entry) copy(w io.Writer) error {
	if e.source == "" {
		_, err := io.WriteString(w, e.data)
		return err
	}
	f, err := os.Open(e.source)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
