#!/usr/bin/env bash
# Runs test suites by name, in order, and prints the time of each.
#
#   scripts/test.sh SUITE…    see the functions named suite_… below
#
# A suite that needs a container engine starts one of its own when none answers,
# and it is stopped at the end. Every suite runs even if one before it failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

# Tests must not find the credentials or settings of whoever runs them.
unset "${!SPACELIFT_@}" "${!SPACEPORT_@}" "${!TF_@}"

engine_started=
trap '[ -z "$engine_started" ] || scripts/dockerd.sh stop' EXIT

need() { # need COMMAND PACKAGE: installs a Debian package when a command is missing
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the tests need '$1' (Debian package $2): install it" >&2
    return 1
  fi
  { [ -n "${apt_updated-}" ] || apt-get update -qq; } && apt_updated=yes
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
}

need_witnesses() { # other people's tools that vouch for our formats
  need age age && need zstd zstd && need openssl openssl && need git git && need ssh-keygen openssh-client && need sshd openssh-server && need tar tar
}

need_engine() {
  docker version >/dev/null 2>&1 && return
  scripts/dockerd.sh start && engine_started=yes || return
  DOCKER_HOST=$(scripts/dockerd.sh host) && export DOCKER_HOST
}

need_terraform() {
  command -v terraform >/dev/null || { echo "the tests need the command 'terraform' on PATH: install it" >&2; return 1; }
}

suite_format() {
  local files
  files=$(git ls-files -z '*.go' | xargs -0 gofmt -l)
  [ -z "$files" ] || { printf 'gofmt would change:\n%s\n' "$files"; return 1; }
}
suite_vet() { go vet ./... && go vet -tags 'docker terraform e2e long' ./...; }
suite_lint() { go mod tidy -diff && (cd tools && go mod tidy -diff) && scripts/tools.sh golangci-lint gofumpt && .tools/bin/golangci-lint run ./... && test -z "$(git ls-files '*.go' | grep -v generated | xargs .tools/bin/gofumpt -l | tee /dev/stderr)"; }
suite_fresh() { scripts/generate.sh --check; }
suite_unit() { need_witnesses && go test ./...; }
suite_race() { go test -race ./internal/...; }
suite_engine() { need_engine && go test -count=1 -tags docker ./internal/launcher/... ./internal/testkit/...; }
suite_tool() { need_terraform && go test -count=1 -tags terraform ./internal/worker/...; }
suite_e2e() {
  need_engine && need_terraform && need_witnesses && need curl curl && need jq jq && need sqlite3 sqlite3 && make --no-print-directory build &&
    go test -count=1 -timeout 20m -tags 'docker terraform e2e' ./e2e/...
}
suite_long() {
  need_engine && need_terraform && need_witnesses && make --no-print-directory build &&
    go test -count=1 -timeout 60m -tags 'docker terraform e2e long' -run Long ./e2e/...
}

failed=() times=()
for suite in "$@"; do
  printf '\n=== %s\n' "$suite"
  start=$SECONDS
  if "suite_$suite"; then result=ok; else result=FAILED && failed+=("$suite"); fi
  times+=("$(printf '%-8s %-6s %4d s' "$suite" "$result" $((SECONDS - start)))")
done

printf '\n=== time of each suite\n'
printf '%s\n' "${times[@]}"
[ ${#failed[@]} = 0 ] || { printf 'failed: %s\n' "${failed[*]}"; exit 1; }
