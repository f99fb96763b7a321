package runlog_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spaceport-iac/spaceport/internal/fault"
	"github.com/spaceport-iac/spaceport/internal/mothership/db"
	"github.com/spaceport-iac/spaceport/internal/mothership/lease/leasetest"
	"github.com/spaceport-iac/spaceport/internal/mothership/pool"
	"github.com/spaceport-iac/spaceport/internal/mothership/runlog"
	"github.com/spaceport-iac/spaceport/internal/mothership/runs"
	"github.com/spaceport-iac/spaceport/internal/run"
	"github.com/spaceport-iac/spaceport/internal/wire"
)

var ctx = context.Background()

// world is a mothership with one task in its container.
type world struct {
	*leasetest.World
	worker  pool.WorkerIdentity
	run     *runs.Run
	ref     wire.AttemptRef
	version int
	chunk   int
	offset  int64
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{World: leasetest.New(t)}
	w.worker = w.Worker("01A")
	w.run = w.Task(w.Stack("web", nil), true)
	w.ref = w.Ref(w.run)
	w.version = w.Start(w.worker, w.ref, run.Write, run.PhasePerform, "c").StateVersion
	return w
}

func (w *world) source() runlog.Source {
	return runlog.Source{Run: w.ref.Run, Attempt: w.ref.Attempt, From: 1, To: w.version}
}

func (w *world) apply(u wire.LogUpdate) error {
	return w.DB.Write(ctx, func(tx *db.Tx) error { return w.Logs.Apply(ctx, tx, w.source(), u) })
}

// store puts the next chunk where its URL leads and returns its commit.
func (w *world) store(text string) wire.LogCommit {
	w.T.Helper()
	key := fmt.Sprintf("logs/%s/%d/%d/%d", w.ref.Run, w.ref.Attempt, w.version, w.chunk)
	if err := w.Blob.Put(ctx, key, strings.NewReader(text)); err != nil {
		w.T.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	c := wire.LogCommit{StateVersion: w.version, Chunk: w.chunk, Offset: w.offset, Length: int64(len(text)), SHA256: hex.EncodeToString(sum[:])}
	w.chunk++
	w.offset += c.Length
	return c
}

func (w *world) print(text string) {
	w.T.Helper()
	if err := w.apply(wire.LogUpdate{Commits: []wire.LogCommit{w.store(text)}}); err != nil {
		w.T.Fatal(err)
	}
}

func (w *world) read(token string) runlog.Page {
	w.T.Helper()
	page, err := w.Logs.Read(w.Ctx(), runlog.Query{Run: w.ref.Run, State: run.Performing, Token: token})
	if err != nil {
		w.T.Fatal(err)
	}
	return page
}

func TestTheTailOfALogIsReadWhileItGrows(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if page := w.read(""); page.Exists || page.Finished {
		t.Errorf("before the first byte: %+v", page)
	}
	w.print("one\ntw")
	page := w.read("")
	if !slices.Equal(page.Messages, []string{"one\n", "tw"}) || page.Finished || page.Next != "6" {
		t.Errorf("the first page is %+v", page)
	}
	w.print("o\n\x1b[1mthree")
	next := w.read(page.Next)
	if !slices.Equal(next.Messages, []string{"o\n", "\x1b[1mthree"}) {
		t.Errorf("the next page is %+v", next)
	}
	if err := w.apply(wire.LogUpdate{Closes: []wire.LogClose{{StateVersion: w.version, Bytes: w.offset}}}); err != nil {
		t.Fatal(err)
	}
	if last := w.read(next.Next); !last.Finished || len(last.Messages) != 0 {
		t.Errorf("the last page is %+v", last)
	}
	if whole := w.read(""); strings.Join(whole.Messages, "") != "one\ntwo\n\x1b[1mthree" || !whole.Finished {
		t.Errorf("the whole is %+v", whole)
	}
}

func TestALongLogComesInPages(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var want strings.Builder
	for i := range 5 {
		text := strings.Repeat(fmt.Sprintf("line %d\n", i), 90_000)
		want.WriteString(text)
		w.print(text)
	}
	var got strings.Builder
	token, pages := "", 0
	for more := true; more; pages++ {
		page := w.read(token)
		got.WriteString(strings.Join(page.Messages, ""))
		token, more = page.Next, page.More
	}
	if got.String() != want.String() || pages < 2 {
		t.Errorf("read %d bytes in %d pages, want %d bytes", got.Len(), pages, want.Len())
	}
}

func TestACharacterIsNotCutBetweenPages(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for _, char := range []string{"é", "€", "😀"} {
		for cut := 1; cut < len(char); cut++ {
			w.print("<" + char[:cut])
			page := w.read(fmt.Sprint(w.offset - int64(cut) - 1))
			if got := strings.Join(page.Messages, ""); got != "<" || page.More || page.Finished {
				t.Errorf("with %d bytes of %s there the page is %q, %+v", cut, char, got, page)
			}
			w.print(char[cut:])
			if got := strings.Join(w.read(page.Next).Messages, ""); got != char {
				t.Errorf("the next page is %q, want %s", got, char)
			}
		}
	}
	w.print("\xff\xf0\x9f")
	if got := strings.Join(w.read(fmt.Sprint(w.offset-3)).Messages, ""); got != "\xff" {
		t.Errorf("what is no character is answered as %q", got)
	}
	if err := w.apply(wire.LogUpdate{Closes: []wire.LogClose{{StateVersion: w.version, Bytes: w.offset}}}); err != nil {
		t.Fatal(err)
	}
	if last := w.read(fmt.Sprint(w.offset - 2)); !last.Finished || strings.Join(last.Messages, "") != "\xf0\x9f" {
		t.Errorf("the end of a closed log is %+v", last)
	}
}

func TestChunksAreCommittedInOrderAndOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	first, second := w.store("first\n"), w.store("second\n")
	err := w.apply(wire.LogUpdate{Commits: []wire.LogCommit{second}})
	if f := fault.As(err); f == nil || f.Kind != fault.Conflict || !strings.Contains(f.Message, "byte 0 is expected") {
		t.Fatalf("a gap is answered %v", err)
	}
	for range 2 {
		if err := w.apply(wire.LogUpdate{Commits: []wire.LogCommit{first, second}}); err != nil {
			t.Fatalf("the same again is answered %v", err)
		}
	}
	if got := strings.Join(w.read("").Messages, ""); got != "first\nsecond\n" {
		t.Errorf("the log is %q", got)
	}
}

func TestALogBelongsToItsAttempt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for name, u := range map[string]wire.LogUpdate{
		"a commit": {Commits: []wire.LogCommit{{StateVersion: w.version + 1, Length: 1}}},
		"a close":  {Closes: []wire.LogClose{{StateVersion: w.version + 1}}},
	} {
		if err := w.apply(u); !fault.Is(err, fault.Stale) {
			t.Errorf("%s of a state that is not the attempt's is answered %v", name, err)
		}
	}
	if _, err := w.Logs.URLs(w.source(), w.version+1, 0, 1); !fault.Is(err, fault.Stale) {
		t.Errorf("URLs for one are answered %v", err)
	}
	urls, err := w.Logs.URLs(w.source(), w.version, 3, 2)
	if err != nil || len(urls) != 2 || urls[1].Chunk != 4 || !strings.Contains(urls[0].URL, fmt.Sprintf("/%s/%d/%d/3", w.ref.Run, w.ref.Attempt, w.version)) {
		t.Errorf("URLs are %+v, %v", urls, err)
	}
}

func TestLostBytesAreSaidInTheText(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.print("kept\n")
	if err := w.apply(wire.LogUpdate{Closes: []wire.LogClose{{StateVersion: w.version, Bytes: 12, Lost: 7}}}); err != nil {
		t.Fatal(err)
	}
	page := w.read("")
	if !page.Finished || !strings.Contains(strings.Join(page.Messages, ""), "7 bytes of this log were lost") {
		t.Errorf("the page is %+v", page)
	}
}

func TestALogThatNobodyClosesIsOverSomeTimeAfterItsAttempt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.print("half a li")
	if _, err := w.Lease.Gone(ctx, w.worker, w.ref, wire.GoneRequest{Session: 1}); err != nil {
		t.Fatal(err)
	}
	if w.read("").Finished {
		t.Error("it is over at once, though the rest may be on its way")
	}
	answer, err := w.Lease.Log(ctx, w.worker, w.ref, wire.LogsRequest{Logs: wire.LogUpdate{Commits: []wire.LogCommit{w.store("ne\n")}}})
	if err != nil || answer.Committed[w.version] != 12 {
		t.Errorf("the rest is answered %+v, %v", answer, err)
	}
	w.Clock.Advance(2 * time.Minute)
	if page := w.read(""); !page.Finished || strings.Join(page.Messages, "") != "half a line\n" {
		t.Errorf("after two minutes the page is %+v", page)
	}
}

func TestWhoeverReadsIsNoticedByTheWorker(t *testing.T) {
	t.Parallel()
	w := setup(t)
	before := len(w.Hints.Sent())
	beat := func(n int64) bool {
		answer, err := w.Lease.Beat(ctx, w.worker, w.ref, wire.BeatRequest{Beat: n})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Watched
	}
	if beat(1) {
		t.Error("it is watched before anybody read")
	}
	w.read("")
	w.read("")
	if !beat(2) || len(w.Hints.Sent()) != before+1 {
		t.Errorf("after reads it is watched by %v, with %d hints more", w.Logs.Watched(w.ref.Run), len(w.Hints.Sent())-before)
	}
	w.Clock.Advance(11 * time.Second)
	if beat(3) {
		t.Error("it is still watched 11 s after the last read")
	}
}

func TestAStrangerReadsNoLog(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if _, err := w.Logs.Read(ctx, runlog.Query{Run: w.ref.Run, State: run.Performing}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without a principal a read is answered %v", err)
	}
}
