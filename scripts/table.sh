# shellcheck shell=bash
# Sourced by scripts that print a table of what was asked and what was measured.
table=$(mktemp)
log=$(mktemp)
trap 'rm -f "$table" "$log"' EXIT
failed=0

# row CHECK ASKED COMMAND…: the command's lines that hold "measured:" are what was measured.
row() {
  local check=$1 asked=$2 from=$SECONDS said
  shift 2
  echo "== $check"
  if "$@" >"$log" 2>&1; then
    said=$(sed -n 's/^.*measured: //p' "$log" | paste -sd'~' | sed 's/~/; /g')
    if [ -z "$said" ]; then
      said=$(sed -n 's/^ *[a-z_]*\.go:[0-9]*: \(.*\(skip\|need\).*\)/not run: \1/p' "$log" | head -1)
    fi
    said=${said:-passed: $(grep -c '^--- PASS\|Valid: [0-9]*, Invalid: 0' "$log") checks}
  else
    failed=1
    said="**FAILED**"
    tail -n 60 "$log"
  fi
  echo "   $said ($((SECONDS - from)) s)"
  echo "| $check | $asked | $said |" >>"$table"
}

suite() { # PACKAGE PATTERN [FLAGS…]
  local package=$1 pattern=$2
  shift 2
  ${GO:-go} test "$package" -count=1 -v -timeout 2h -run "^($pattern)\$" "$@"
}

# finish prints the table and exits, with 1 where a row failed.
finish() {
  printf '\n| check | asked | measured |\n|---|---|---|\n'
  cat "$table"
  exit $failed
}
