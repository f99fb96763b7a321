#!/usr/bin/env bash
# Writes generated code anew; with --check it writes nothing and fails when what
# is committed is not what the sources say.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/tools.sh gqlgen
tool=$PWD/.tools/bin/gqlgen
graph=internal/mothership/graph

if [ "${1-}" != --check ]; then
  cd "$graph" && exec "$tool" generate --config gqlgen.yml
fi

# A module of the same name that holds nothing but the sources: import paths, and
# so the generated names, come out the same.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy/$graph"
cp go.mod go.sum "$copy/"
cp -r "$graph/gqlgen.yml" "$graph/schema" "$copy/$graph/"
(cd "$copy/$graph" && "$tool" generate --config gqlgen.yml)
diff -rq "$graph/gen" "$copy/$graph/gen" || { echo "generated code is not fresh: run make generate" >&2; exit 1; }
