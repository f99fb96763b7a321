package mask

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// BenchmarkWriter measures an ordinary Terraform log under 100 secrets.
func BenchmarkWriter(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, count := range []int{0, 1, 100, 1000} {
		b.Run(fmt.Sprintf("%d secrets", count), func(b *testing.B) {
			secrets := make([]string, count)
			for i := range secrets {
				secrets[i] = randomSecret(rng, 20+rng.IntN(40))
			}
			var text strings.Builder
			for text.Len() < 1<<20 {
				fmt.Fprintf(&text, "module.network.aws_subnet.private[%d]: Still creating... [id=subnet-%08x, %ds elapsed]\n", rng.IntN(99), rng.Uint32(), rng.IntN(600))
				if count > 0 && rng.IntN(50) == 0 {
					fmt.Fprintf(&text, "password = %q\n", secrets[rng.IntN(count)])
				}
			}
			log := []byte(text.String())
			m := New(Options{Secrets: secrets})
			w := m.Writer(io.Discard)
			m.current()
			b.SetBytes(int64(len(log)))
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				for p := log; len(p) > 0; {
					n := min(32<<10, len(p))
					if _, err := w.Write(p[:n]); err != nil {
						b.Fatal(err)
					}
					p = p[n:]
				}
			}
		})
	}
}

// BenchmarkAdd measures what the first write after a new secret pays.
func BenchmarkAdd(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := New(Options{})
	for range 100 {
		m.Add(randomSecret(rng, 40))
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Add(randomSecret(rng, 40))
		m.current()
	}
}

func randomSecret(rng *rand.Rand, n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=_-!$'\"%"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[rng.IntN(len(letters))]
	}
	return string(b)
}
