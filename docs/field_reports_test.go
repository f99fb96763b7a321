package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// How many reports each group has.
var groups = map[string]int{"A": 11, "B": 13, "C": 19, "D": 16, "E": 11, "F": 10}

var (
	row    = regexp.MustCompile(`(?m)^\| ([A-F]\d+) \| ([^|]+) \| ([^|]+) \|$`)
	quoted = regexp.MustCompile("`([^`]+)`")
)

func TestEveryFieldReportIsThereAndNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("field-reports.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		id, held := m[1], m[3]
		found[id]++
		file, text := "", ""
		for _, q := range quoted.FindAllStringSubmatch(held, -1) {
			switch name := q[1]; {
			case strings.HasSuffix(name, "_test.go"):
				data, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
				if err != nil {
					t.Errorf("%s: %v", id, err)
				}
				file, text = name, string(data)
			case strings.HasPrefix(name, "Test"), strings.HasPrefix(name, "Fuzz"):
				if !strings.Contains(text, "\nfunc "+name+"(") {
					t.Errorf("%s: there is no %s in %q", id, name, file)
				}
			}
		}
		if file == "" && !strings.HasPrefix(held, "Not ") {
			t.Errorf("%s names no test and does not say why", id)
		}
	}
	for group, n := range groups {
		for i := 1; i <= n; i++ {
			if id := fmt.Sprintf("%s%d", group, i); found[id] != 1 {
				t.Errorf("%s is there %d times", id, found[id])
			}
			delete(found, fmt.Sprintf("%s%d", group, i))
		}
	}
	for id := range found {
		t.Errorf("there is no report %s", id)
	}
}
