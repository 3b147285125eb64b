#!/usr/bin/env bash
# Puts ONNX Runtime's shared library (about 46 MB) where tests look for it: the user's cache, or the folder given.
# It comes out of the npm package onnxruntime-node, or of the Python wheel where npm is missing; with neither npm nor
# pip, root on Debian or Ubuntu gets pip first.
# Usage: scripts/onnxruntime.sh [FOLDER]
set -euo pipefail

version=1.30.0
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/ringo/onnxruntime}
lib=$dir/libonnxruntime.so

[ -s "$lib" ] && [ "$(cat "$dir/VERSION" 2>/dev/null)" = "$version" ] && exit 0
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "onnxruntime: no recipe for $(uname -sm); set RINGO_ONNXRUNTIME to the path of the library" >&2
  exit 1
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$dir"

from_npm() {
  command -v npm >/dev/null || return 1
  npm install --ignore-scripts --no-audit --no-fund --silent --prefix "$tmp/npm" "onnxruntime-node@$version" >&2 || return 1
  find "$tmp/npm" -path '*linux/x64/libonnxruntime.so*' -type f -print -quit
}

from_wheel() {
  command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || return 1
  python3 -m pip download --quiet --no-deps --only-binary=:all: -d "$tmp/wheel" "onnxruntime==$version" >&2 || return 1
  python3 -m zipfile -e "$tmp"/wheel/*.whl "$tmp/wheel/out" || return 1
  find "$tmp/wheel/out" -name 'libonnxruntime.so*' -type f -print -quit
}

found=$(from_npm) || found=$(from_wheel) || found=
if [ -z "$found" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing pip for ONNX Runtime"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-pip >/dev/null
  found=$(from_wheel) || found=
fi
if [ -z "$found" ]; then
  echo "onnxruntime: could not fetch version $version; install npm or Python's pip and run scripts/onnxruntime.sh again" >&2
  exit 1
fi
# Renamed into place last, so that an interrupted copy is never taken for the library.
cp "$found" "$lib.tmp" && mv "$lib.tmp" "$lib"
echo "$version" >"$dir/VERSION"
echo "onnxruntime $version: $lib"
