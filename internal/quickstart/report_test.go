package quickstart

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestJSONHasOneObjectALineWithTheStableFields(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := JSONReporter{&b}
	r.Report(Event{Step: "server", State: Started, Message: "starting"})
	r.Report(Event{Step: StepLog, State: "PLANNING", Run: "R", Message: "a <line>\nof two"})
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2:\n%s", len(lines), b.String())
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(lines[1]), &got); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]any{"step": "log", "state": "PLANNING", "run": "R", "message": "a <line>\nof two", "elapsed_ms": 0.0} {
		if got[field] != want {
			t.Errorf("field %s is %v, want %v", field, got[field], want)
		}
	}
}

func TestSecretForPeopleIsNotInJSON(t *testing.T) {
	t.Parallel()
	e := Event{Step: "access", State: Note, Message: "see the file", ForPeople: "canary-secret"}
	var machine, people bytes.Buffer
	JSONReporter{&machine}.Report(e)
	NewTextReporter(&people, false).Report(e)
	if strings.Contains(machine.String(), "canary") || !strings.Contains(people.String(), "canary") {
		t.Errorf("JSON has %q, people see %q", machine.String(), people.String())
	}
}

func TestTextShowsStepsPhasesAndLog(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := NewTextReporter(&b, false)
	r.Report(Event{Step: "pool", State: Started, Message: "making"})
	r.Report(Event{Step: "pool", State: Finish, Message: "made", Took: 1200 * time.Millisecond})
	r.Report(Event{Step: StepPhase, State: "PLANNING", Message: "on worker W", ElapsedMs: 3400})
	r.Report(Event{Step: StepLog, State: "PLANNING", Message: "Plan: 2 to add"})
	r.Report(Event{Step: "confirm", State: Waiting, Message: "Apply?"})
	r.Report(Event{Step: "backend", State: Note, Message: "no engine"})
	r.Report(Event{Step: "outputs", State: Finish, Message: "a = 1\nb = 2"})
	r.Report(Event{Step: "drain", State: Skipped, Message: "nothing to do"})
	want := "✓ pool         made  (1.2s)\n▸ PLANNING        on worker W  (3.4s)\n  │ Plan: 2 to add\n? Apply? \n! no engine\n✓ outputs      a = 1\n               b = 2  (0.0s)\n"
	if b.String() != want {
		t.Errorf("wrote\n%s\nwant\n%s", b.String(), want)
	}
}

func TestStepOnATerminalIsWrittenOver(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := NewTextReporter(&b, true)
	r.Report(Event{Step: "pool", State: Started, Message: "making"})
	r.Report(Event{Step: "pool", State: Finish, Message: "made"})
	if want := "· pool         making …\r\x1b[K✓ pool         made  (0.0s)\n"; b.String() != want {
		t.Errorf("wrote %q, want %q", b.String(), want)
	}
}

func TestLogCannotCommandTheTerminal(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain, ünïcode, 世界":          "plain, ünïcode, 世界",
		"\x1b[1;32mgreen\x1b[0m":      "\x1b[1;32mgreen\x1b[0m",
		"\x1b]0;a title\x07rest":      "]0;a titlerest",
		"up\x1b[2Aover":               "up[2Aover",
		"back\rwards\x08\x7f\u009b2J": "backwards2J",
		"tab\tstays":                  "tab\tstays",
		"cut \xff\xfe":                "cut \uFFFD\uFFFD",
		"\x1b[":                       "[",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) is %q, want %q", in, got, want)
		}
	}
}
