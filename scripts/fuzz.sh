#!/usr/bin/env bash
# Fuzzes every Fuzz target of the module, one after the other. Usage: scripts/fuzz.sh TIME, such as 10s, for each.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
each=${1:-10s}

# fuzz runs one target. Go's fuzzer at times fails with nothing but "context deadline exceeded" when the time is over
# (golang.org/issue/75804); that is no finding.
fuzz() {
  local out
  if out=$($go test -run '^$' -fuzz "^$2\$" -fuzztime "$each" "$1" 2>&1 </dev/null); then
    tail -1 <<<"$out"
  elif grep -q 'context deadline exceeded' <<<"$out" && ! grep -q 'Failing input' <<<"$out"; then
    echo "ok  	$1, stopped at its deadline"
  else
    echo "$out" >&2
    return 1
  fi
}

$go list -f '{{$dir := .ImportPath}}{{$at := .Dir}}{{range .TestGoFiles}}{{$dir}} {{$at}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$dir}} {{$at}}/{{.}}{{"\n"}}{{end}}' ./... |
  while read -r package file; do
    [ -n "$file" ] || continue
    for name in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
      echo "== $package $name"
      fuzz "$package" "$name"
    done
  done
