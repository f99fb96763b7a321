package evaluator

import (
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

func TestTheListOfFunctionsIsOfThoseThatExistAndNoForbiddenOne(t *testing.T) {
	t.Parallel()
	names := strings.Fields(allowed)
	for _, b := range capabilities().Builtins {
		if slices.Contains(forbidden, b.Name) {
			t.Errorf("%s is allowed", b.Name)
		}
	}
	var known []string
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		known = append(known, b.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			t.Errorf("%s is no function of this version", name)
		}
	}
	for _, name := range known {
		if !slices.Contains(names, name) && !slices.Contains(forbidden, name) {
			t.Errorf("%s is new: add it to builtins.txt, or to the forbidden ones if it reaches anything outside", name)
		}
	}
}
