#!/usr/bin/env bash
# Builds bin/ringo and says what it chose.
#
#   scripts/build.sh auto   with CUDA where its headers and a compiler for kernels are found or can be fetched, else without
#   scripts/build.sh cuda   with CUDA, or fail and say what is missing
#   scripts/build.sh cpu    without CUDA
#
# RINGO_CUDA=0 in the environment turns auto into cpu. A binary with CUDA runs on machines without a GPU too.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
mode=${1:-auto}
[ "$mode" = auto ] && [ "${RINGO_CUDA:-}" = 0 ] && mode=cpu

# missing says why a build with CUDA is not possible here, nothing where it is.
missing() {
  if [ "$($go env GOOS)/$($go env GOARCH)" != linux/amd64 ]; then
    echo "it needs linux/amd64, this is $($go env GOOS)/$($go env GOARCH)"
  elif ! command -v g++ >/dev/null || ! command -v make >/dev/null; then
    echo "it needs g++ and make: apt-get install g++ make"
  fi
}

with_cuda() {
  scripts/cuda.sh which
  scripts/cuda.sh soft
  scripts/cuda.sh image
  eval "$(scripts/cuda.sh env)"
  $go build -tags cuda -trimpath -o bin/ringo ./cmd/ringo
}

without_cuda() { $go build -trimpath -o bin/ringo ./cmd/ringo; }

case $mode in
cpu)
  without_cuda
  echo "bin/ringo: built without CUDA" >&2
  ;;
cuda)
  why=$(missing)
  if [ -n "$why" ]; then
    echo "cannot build with CUDA: $why" >&2
    exit 1
  fi
  with_cuda
  echo "bin/ringo: built with CUDA; bin/libringo_softcuda.so is the software device" >&2
  ;;
auto)
  why=$(missing)
  if [ -z "$why" ] && ! scripts/cuda.sh which >/dev/null; then
    why="no CUDA 12 headers and compiler, see above"
  fi
  if [ -n "$why" ]; then
    without_cuda
    echo "bin/ringo: built without CUDA: $why" >&2
  else
    with_cuda
    echo "bin/ringo: built with CUDA; RINGO_CUDA=0 leaves it out" >&2
  fi
  ;;
*)
  sed -n '2,8p' "$0" | cut -c3- >&2
  exit 2
  ;;
esac
