package seal

import (
	"archive/tar"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func FuzzParseStatement(f *testing.F) {
	f.Add(read(f, "vectors", "workspace2048.statement"))
	f.Add([]byte("spaceport-seal-v1\nkind state\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseStatement(data)
		if err != nil {
			return
		}
		again, err := s.Marshal()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("accepted %q, which is written as %q (%v)", data, again, err)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add(string(read(f, "vectors", "token.txt")))
	f.Add("e30=")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		again, err := ParseToken(token.Encode())
		if err != nil || again.PoolCertificate() == nil || len(again.RootPool()) == 0 || again.Encode() != token.Encode() {
			t.Errorf("accepted %q, which is not read again: %v", text, err)
		}
	})
}

func FuzzParseCSR(f *testing.F) {
	for _, name := range []string{"pool2048.csr", "weak.csr", "ec.csr", "md5.csr", "pool2048.crt"} {
		f.Add(string(read(f, "keys", name)))
	}
	f.Fuzz(func(t *testing.T, text string) {
		csr, err := ParseCSR(text)
		if err == nil && (csr.Public.N.BitLen() < minRSABits || csr.Public.N.BitLen() > maxRSABits) {
			t.Errorf("accepted a key of %d bits", csr.Public.N.BitLen())
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, dirEntry("carry"), dirEntry("workspace"), dirEntry("workspace/a"), fileEntry("workspace/a/b")))
	f.Add(archive(f, dirEntry("carry"), dirEntry("workspace"), entry{name: "workspace/a", link: "..", kind: tar.TypeSymlink}, fileEntry("workspace/a/../x")))
	f.Add(archive(f, fileEntry("../x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir, into := trees(t)
		err := Unpack(context.Background(), bytes.NewReader(data), into, UnpackOptions{Limits: Limits{Bytes: 1 << 16, Entries: 50, Path: 200, Depth: 8}})
		if top, _ := os.ReadDir(dir); len(top) != 2 {
			t.Errorf("%v stand beside the trees (%v)", top, err)
		}
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !d.Type().IsRegular() && d.Type() != fs.ModeSymlink {
				t.Errorf("%s has type %v", path, d.Type())
			}
			return nil
		})
	})
}
