package seal

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
)

const benchSize = 64 << 20

// BenchmarkSealing compares sealing a workspace with age's own stream over the
// same bytes to the same kind of file. "program" is what most of a workspace is,
// providers; "noise" does not compress at all, the worst case.
func BenchmarkSealing(b *testing.B) {
	k := key(b, "pool4096.key")
	noise := make([]byte, 1<<20)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(noise)
	text := make([]byte, len(noise))
	for i := range text {
		text[i] = "resource \"aws_subnet\" {\n  cidr = 10.0.0.0/24\n}\n"[(i+int(noise[i/64])/16)%47]
	}
	self, err := os.Executable()
	check(b, err)
	program, err := os.ReadFile(self)
	check(b, err)
	program = program[:min(len(program), 8<<20)&^(1<<20-1)]
	for name, content := range map[string][]byte{"noise": noise, "text": text, "program": program} {
		dir, from := trees(b)
		f, err := os.Create(filepath.Join(dir, TreeWorkspace, "file"))
		check(b, err)
		for range benchSize / len(content) {
			_, err := f.Write(content)
			check(b, err)
		}
		check(b, f.Close())
		dst, err := os.Create(filepath.Join(b.TempDir(), "blob"))
		check(b, err)
		b.Cleanup(func() { _ = dst.Close() })

		b.Run(name+"/age alone", func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				restart(b, dst)
				src, err := os.Open(f.Name())
				check(b, err)
				w, err := age.Encrypt(dst, k.inner.recipient.age)
				check(b, err)
				_, err = io.Copy(w, src)
				check(b, err)
				check(b, w.Close())
				check(b, dst.Sync())
				check(b, src.Close())
			}
		})
		b.Run(name+"/SealTree", func(b *testing.B) {
			b.SetBytes(benchSize)
			b.ReportAllocs()
			for b.Loop() {
				restart(b, dst)
				_, _, err := SealTree(context.Background(), dst, from, PackOptions{}, k.Recipient())
				check(b, err)
			}
		})
	}
}

func restart(b *testing.B, f *os.File) {
	b.Helper()
	check(b, f.Truncate(0))
	_, err := f.Seek(0, io.SeekStart)
	check(b, err)
}
