#!/usr/bin/env bash
# Makes sure that Go (1.26 or newer) and a C compiler are here. As root on Debian or Ubuntu it installs what
# is missing; elsewhere it prints the command that would.
set -euo pipefail

need_go="1.26"
missing=()

have_go() {
  command -v go >/dev/null || return 1
  local v
  v=$(go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
  [ "$(printf '%s\n%s\n' "$need_go" "$v" | sort -V | head -n1)" = "$need_go" ]
}

have_go || missing+=(golang)
command -v cc >/dev/null || command -v gcc >/dev/null || missing+=(gcc libc6-dev)

[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
  # A distribution's Go that is older than needed fetches the right toolchain by itself (GOTOOLCHAIN=auto).
else
  echo "ringo needs Go $need_go or newer and a C compiler; missing: ${missing[*]}" >&2
  echo "on Debian or Ubuntu:  sudo apt-get install ${missing[*]}" >&2
  echo "elsewhere:            https://go.dev/dl/ and your system's C compiler" >&2
  exit 1
fi
