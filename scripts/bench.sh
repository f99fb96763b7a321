#!/usr/bin/env bash
# Measures what docs/benchmarks.md reports. Run it on an idle machine.
set -euo pipefail
cd "$(dirname "$0")/.."

engine_started=
trap '[ -z "$engine_started" ] || scripts/dockerd.sh stop' EXIT
docker version >/dev/null 2>&1 || { scripts/dockerd.sh start && engine_started=yes; }

go test -count=1 -timeout 30m -tags bench -run Bench ./e2e/ -v | grep -v '^=== RUN\|^--- PASS\|^PASS\|^ok'
go test -run '^$' -bench . -benchtime 2s ./internal/seal/ ./internal/mask/
go test -run '^$' -bench 'ATrivialRun|TriggerToAssignment' -benchtime 2s ./internal/mothership/lease/ ./internal/mothership/queue/
go test -run '^$' -bench 'TrivialTask|ShellAlone' -benchtime 100x ./internal/worker/
