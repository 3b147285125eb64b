#!/usr/bin/env bash
# Style and consistency: gofmt, vet on three platforms, staticcheck, the project's own rules, generated files.
# Usage: scripts/lint.sh STATICCHECK_MODULE@VERSION
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
  printf 'not gofmt, run gofmt -w on:\n%s\n' "$unformatted" >&2
  exit 1
fi
echo "vet"
go vet ./...
CGO_ENABLED=0 go build ./...
GOARCH=arm64 CGO_ENABLED=0 go vet ./...
echo "staticcheck"
go run "$1" ./...
echo "project rules"
go test ./internal/lint
echo "generated files"
go generate ./...
if [ -n "$(git status --porcelain -- '*_gen.go' '*.pb.go')" ]; then
  git status --short -- '*_gen.go' '*.pb.go' >&2
  echo "generated files are stale: run go generate ./... and commit them" >&2
  exit 1
fi
echo "lint: ok"
