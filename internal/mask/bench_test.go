package mask

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkWriter measures an ordinary Terraform log under 100 secrets.
func BenchmarkWriter(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, count := range []int{0, 1, 100, 1000, -100} {
		name, wellKnown := fmt.Sprintf("%d secrets", count), count < 0
		if wellKnown {
			count = -count
			name = fmt.Sprintf("%d secrets and well-known kinds", count)
		}
		b.Run(name, func(b *testing.B) {
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
			m := New(Options{Secrets: secrets, WellKnown: wellKnown})
			w := m.Writer(io.Discard)
			m.current()
			b.SetBytes(int64(len(log)))
			b.ReportAllocs()
			b.ResetTimer()
			began := processorTime(b)
			// Other processes are in the way of the clock, not of this.
			defer func() {
				b.ReportMetric(float64(b.N)*float64(len(log))/1e6/(processorTime(b)-began).Seconds(), "MB/cpu-s")
			}()
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

// processorTime is what this process has had of the processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
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
