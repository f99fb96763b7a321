package quickstart

import (
	"testing"

	"github.com/spaceport-iac/spaceport/internal/testkit/apischema"
)

func TestOwnDocumentsFitTheSchema(t *testing.T) {
	t.Parallel()
	apischema.Check(t, viewerDocument, resetDocument, runsDocument)
}
