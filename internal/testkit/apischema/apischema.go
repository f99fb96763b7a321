// Package apischema holds documents of tests against the public API's schema.
package apischema

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

// Load reads the public API's schema out of the repository.
func Load(t *testing.T) *ast.Schema {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top(t), "internal", "mothership", "graph", "schema", "*.graphql"))
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
	return schema
}

// Check reports each document that the public API's schema does not allow.
func Check(t *testing.T, documents ...string) {
	t.Helper()
	schema := Load(t)
	for _, document := range documents {
		if _, err := gqlparser.LoadQueryWithRules(schema, document, nil); err != nil {
			t.Errorf("%s: %v", document, err)
		}
	}
}

// top is the repository's top directory: tests run in the directory of their package.
func top(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("no go.mod above the test's directory: %v", err)
	return ""
}
