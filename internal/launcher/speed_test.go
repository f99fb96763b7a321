package launcher_test

import (
	"net/http"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/launcher/launchertest"
)

// BenchmarkTrivialRun measures a launcher against a mothership that costs
// nothing: from accept to the first log chunk of the container's phase, and to
// the end. The process backend, init skipped, source cached.
func BenchmarkTrivialRun(b *testing.B) {
	var first, whole []time.Duration
	w := setup(b, map[string]string{"hello": "world\n"})
	var accepted time.Time
	var seen bool
	marks := make(chan time.Duration, 1000)
	w.Before = func(r *http.Request) int {
		switch {
		case strings.HasSuffix(r.URL.Path, "/accept"):
			accepted, seen = time.Now(), false
		case strings.Contains(r.URL.Path, "/1/4/0") && !seen:
			seen = true
			marks <- time.Since(accepted)
		}
		return 0
	}
	w.start(w.data)
	for b.Loop() {
		began := time.Now()
		r := w.Enqueue(&launchertest.Run{Job: w.job("echo hello")})
		w.over(r)
		whole = append(whole, time.Since(began))
		first = append(first, <-marks)
	}
	sort.Slice(first, func(i, j int) bool { return first[i] < first[j] })
	sort.Slice(whole, func(i, j int) bool { return whole[i] < whole[j] })
	b.ReportMetric(float64(first[len(first)/2].Microseconds())/1000, "first-p50-ms")
	b.ReportMetric(float64(whole[len(whole)/2].Microseconds())/1000, "whole-p50-ms")
}
