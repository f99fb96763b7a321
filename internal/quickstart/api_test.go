package quickstart

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

func TestOwnDocumentsFitTheSchema(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "mothership", "graph", "schema", "*.graphql"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no schema: %v, %v", files, err)
	}
	var sources []*ast.Source
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, &ast.Source{Name: file, Input: string(content)})
	}
	schema, err := gqlparser.LoadSchema(sources...)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range []string{viewerDocument, resetDocument, runsDocument} {
		if _, err := gqlparser.LoadQueryWithRules(schema, document, nil); err != nil {
			t.Errorf("%s: %v", document, err)
		}
	}
}
