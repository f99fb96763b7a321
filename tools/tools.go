//go:build tools

// Package tools pins the development tools in a module of its own, so that
// their dependencies stay out of the product's.
package tools

import (
	_ "github.com/99designs/gqlgen"
	_ "github.com/golangci/golangci-lint/v2/cmd/golangci-lint"
	_ "mvdan.cc/gofumpt"
)
