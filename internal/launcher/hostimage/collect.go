package hostimage

import (
	"archive/tar"
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// add puts a file or directory of the host into the collection at its own path,
// with every link that leads to it.
func (c collection) add(path string) error {
	// Each link starts the walk again from the root with the link replaced.
	for range 40 {
		again, err := c.walk(filepath.Clean(path))
		if err != nil || again == "" {
			return err
		}
		path = again
	}
	return fmt.Errorf("%s: too many links", path)
}

// walk goes down path until it ends or meets a link; then it returns the path
// to go on with.
func (c collection) walk(path string) (again string, err error) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	here := "/"
	for i, part := range parts {
		here = filepath.Join(here, part)
		st, err := os.Lstat(here)
		if err != nil {
			return "", err
		}
		_, known := c[here]
		switch {
		case st.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(here)
			if err != nil {
				return "", err
			}
			c.parents(here)
			c[here] = entry{header: tar.Header{Typeflag: tar.TypeSymlink, Name: here[1:], Linkname: target, Mode: 0o777}}
			if !filepath.IsAbs(target) {
				target = filepath.Join(filepath.Dir(here), target)
			}
			return filepath.Join(append([]string{target}, parts[i+1:]...)...), nil
		case st.IsDir():
			if !known {
				c.dir(here, 0o755, 0)
			}
		case st.Mode().IsRegular():
			// Executable or not is all that is kept: setuid means nothing to a
			// run that may not gain privileges.
			mode := int64(0o644)
			if st.Mode()&0o111 != 0 {
				mode = 0o755
			}
			c.parents(here)
			c[here] = entry{header: tar.Header{Typeflag: tar.TypeReg, Name: here[1:], Mode: mode, Size: st.Size()}, source: here}
		default:
			return "", fmt.Errorf("%s is no regular file", here)
		}
	}
	return "", nil
}

// addProgram adds a program with what it needs to run.
func (c collection) addProgram(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("not an absolute path")
	}
	if err := c.add(path); err != nil {
		return err
	}
	f, err := elf.Open(path)
	if err != nil {
		return c.addInterpreter(path) // a script, then
	}
	defer func() { _ = f.Close() }() // only read
	return c.addNeeds(path, f)
}

// addInterpreter adds what a script's first line names.
func (c collection) addInterpreter(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	line, _ := bufio.NewReaderSize(f, 256).ReadString('\n')
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	if !strings.HasPrefix(line, "#!") || len(words) == 0 {
		return errors.New("neither an ELF program nor a script")
	}
	return c.addProgram(words[0])
}

// addNeeds adds the dynamic loader and the shared libraries of an ELF file, and
// theirs.
func (c collection) addNeeds(path string, f *elf.File) error {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return fmt.Errorf("read the loader's name: %w", err)
		}
		if err := c.add(strings.TrimRight(string(b), "\x00")); err != nil {
			return err
		}
	}
	needs, err := f.DynString(elf.DT_NEEDED)
	if err != nil {
		return nil // static
	}
	dirs := searchPath(path, f)
	for _, name := range needs {
		lib, g := findLibrary(name, dirs, f)
		if lib == "" {
			return fmt.Errorf("its library %s is not found", name)
		}
		_, known := c[lib]
		err := c.add(lib)
		if err == nil && !known {
			err = c.addNeeds(lib, g)
		}
		_ = g.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// searchPath is where the dynamic loader would look for path's libraries.
func searchPath(path string, f *elf.File) []string {
	var dirs []string
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		lists, _ := f.DynString(tag)
		for _, list := range lists {
			for _, d := range strings.Split(list, ":") {
				origin := filepath.Dir(path)
				d = strings.NewReplacer("$ORIGIN", origin, "${ORIGIN}", origin).Replace(d)
				dirs = append(dirs, d)
			}
		}
	}
	confs, _ := filepath.Glob("/etc/ld.so.conf.d/*.conf")
	for _, conf := range append(confs, "/etc/ld.so.conf") {
		b, err := os.ReadFile(conf)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(b), "\n") {
			if strings.HasPrefix(line, "/") {
				dirs = append(dirs, strings.TrimSpace(line))
			}
		}
	}
	return append(dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib")
}

// findLibrary returns the first library of that name made for the same kind of
// machine, opened, or "".
func findLibrary(name string, dirs []string, like *elf.File) (string, *elf.File) {
	for _, d := range dirs {
		p := filepath.Join(d, name)
		f, err := elf.Open(p)
		if err != nil {
			continue
		}
		if f.Machine == like.Machine && f.Class == like.Class {
			return p, f
		}
		_ = f.Close()
	}
	return "", nil
}
