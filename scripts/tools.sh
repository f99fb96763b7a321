#!/usr/bin/env bash
# Builds development tools at the versions of tools/go.mod, each once, into
# .tools/<version>/ with a link in .tools/bin.
#
#   scripts/tools.sh NAME…
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD

declare -A package=(
  [golangci-lint]=github.com/golangci/golangci-lint/v2/cmd/golangci-lint
  [gofumpt]=mvdan.cc/gofumpt
  [gqlgen]=github.com/99designs/gqlgen
)

for name in "$@"; do
  path=${package[$name]:?no tool has this name}
  version=$(cd tools && go list -f '{{.Module.Version}}' "$path")
  dir=$top/.tools/$name-$version-$(go env GOVERSION)
  [ -x "$dir/$name" ] || (cd tools && mkdir -p "$dir" && CGO_ENABLED=0 go build -o "$dir/$name" "$path")
  mkdir -p "$top/.tools/bin"
  ln -sfn "$dir/$name" "$top/.tools/bin/$name"
done
