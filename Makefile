# Spaceport. A bare `make` lists the targets.

SHELL   := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/spaceport-iac/spaceport/internal/version.version=$(VERSION)
BACKEND ?= auto
DATA    ?= quickstart-data

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/spaceport and bin/spacelift-launcher
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o internal/launcher/program/bin/ ./internal/launcher/program/worker ./internal/launcher/program/evaluator
	CGO_ENABLED=0 go build -trimpath -tags embedded -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: quickstart
quickstart: build ## plan and apply a real configuration on two private workers of this machine
	bin/spaceport quickstart --backend $(BACKEND) --data $(DATA)

.PHONY: test
test: ## unit, component and core end-to-end tests; installs and starts what they need
	scripts/test.sh format vet fresh unit engine tool e2e

.PHONY: test-all
test-all: ## everything that test runs, and the long suites
	scripts/test.sh format vet fresh lint unit race engine tool e2e long

.PHONY: check
check: ## what to run before every commit: format, vet, lint, unit tests
	scripts/test.sh format vet fresh lint unit

.PHONY: bench
bench: build ## measure dispatch, throughput, sealing and masking; see docs/benchmarks.md
	scripts/bench.sh

.PHONY: generate
generate: ## write generated code anew
	scripts/generate.sh

.PHONY: tools
tools: ## build the development tools into .tools
	scripts/tools.sh golangci-lint gofumpt gqlgen

.PHONY: clean
clean: ## remove what was built; data directories stay
	rm -rf bin internal/launcher/program/bin
