package command

import (
	"context"
	"strings"
	"testing"

	"github.com/spaceport-iac/spaceport/internal/fault"
)

func TestOnlyAPlainYesConfirms(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "y": true, "\n": false, "n\n": false, "yesterday\n": false} {
		got, err := askOn(strings.NewReader(answer))(t.Context(), "")
		if err != nil || got != want {
			t.Errorf("answer %q is %v, %v; want %v", answer, got, err, want)
		}
	}
}

func TestEndOfInputIsNotAnAnswer(t *testing.T) {
	t.Parallel()
	_, err := askOn(strings.NewReader(""))(t.Context(), "")
	if f := fault.As(err); f == nil || !strings.Contains(f.Hint, "--yes") {
		t.Errorf("got %v, want a fault that names --yes", err)
	}
}

func TestQuestionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// A reader that never answers, as a person who has left.
	if _, err := askOn(silent{})(ctx, ""); err == nil {
		t.Error("the question went on after its context had ended")
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { select {} }
