#!/usr/bin/env bash
# Finds or fetches what the build tag cuda needs, and builds with it. No GPU and no driver are needed.
#
#   scripts/cuda.sh env     print the environment that go build -tags cuda needs: eval "$(scripts/cuda.sh env)"
#   scripts/cuda.sh soft    build the software CUDA device, bin/libringo_softcuda.so (asan: with AddressSanitizer)
#   scripts/cuda.sh image   compile the kernels for GPUs, into cuda/image; no GPU is needed
#   scripts/cuda.sh resources   image, and write registers and spills of every kernel to kernels/resources.txt
#   scripts/cuda.sh planted   compile the kernels with mistakes, for tests of the PTX machine
#   scripts/cuda.sh check   compile the kernels with nvcc 13 too, for what it says: its output is not used
#   scripts/cuda.sh which   say what was found
#
# Headers of CUDA 12 are taken from CUDA_HOME, /usr/local/cuda, the system's include folder, or else from NVIDIA's Python
# packages, which go to a cache: RINGO_CUDA_CACHE, ~/.cache/ringo/cuda where it is not set.
#
# Images are compiled by nvcc 12 or 13 of CUDA_HOME, nvcc 12 of /usr/local/cuda, or else NVRTC 12.6 of the packages. What
# CUDA 13 compiles needs a driver of CUDA 13, so it is taken only where CUDA_HOME asks for it.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${RINGO_CUDA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ringo/cuda}
packaged12=$cache/12.6/nvidia
packaged13=$cache/13.0/nvidia/cu13

say() { echo "cuda: $*" >&2; }

# usable FOLDER: whether it has a cuda.h that gorgonia.org/cu compiles with: 11.8 up to, not including, 13.
usable() {
  local v
  v=$(sed -n 's/^#define CUDA_VERSION \([0-9]*\).*/\1/p' "$1/cuda.h" 2>/dev/null)
  [ -n "$v" ] && [ "$v" -ge 11080 ] && [ "$v" -lt 13000 ]
}

# fetch VERSION MB: the packages that cuda/compile/packages-VERSION.txt names, with digests that pip checks, in the cache.
fetch() {
  local list=cuda/compile/packages-$1.txt to=$cache/$1 tmp
  cmp -s "$list" "$to/complete" && return
  mkdir -p "$to"
  tmp=$(mktemp -d "$to/XXXXXX")
  say "fetching NVIDIA's packages of CUDA $1 (about $2 MB) to $to"
  if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest "$tmp" -r "$list" >&2; then
    rm -rf "$tmp"
    say "no toolkit of CUDA ${1%.*} here, and its packages could not be fetched: install a toolkit and set CUDA_HOME, or python3 with pip and a network"
    return 1
  fi
  for wheel in "$tmp"/*.whl; do
    python3 -m zipfile -e "$wheel" "$tmp/unpacked"
  done
  rm -rf "$to/nvidia"
  mv "$tmp/unpacked/nvidia" "$to/nvidia"
  find "$to/nvidia" -path '*/bin/*' -type f -exec chmod +x {} +
  rm -rf "$tmp"
  cp "$list" "$to/complete"
}

# headers sets include to the flags that find cuda.h, and from to where that is.
headers() {
  local dir
  for dir in ${CUDA_HOME:+"$CUDA_HOME/include"} /usr/local/cuda/include /usr/include; do
    if usable "$dir"; then
      from=$dir include="-I$dir"
      return
    fi
  done
  fetch 12.6 50
  from="$cache/12.6 (NVIDIA's Python packages)"
  include="-I$packaged12/cuda_runtime/include -I$packaged12/cuda_nvcc/include -I$packaged12/cuda_cccl/include"
}

# toolkit FOLDER MAJORS prints FOLDER/bin/nvcc if its version is one of MAJORS, an extended regular expression.
toolkit() {
  [ -x "$1/bin/nvcc" ] && "$1/bin/nvcc" --version | grep -Eq "release ($2)[.]" && echo "$1/bin/nvcc"
}

# compiler sets flag to the make variable that names the compiler of images.
compiler() {
  local found
  if found=$(toolkit "${CUDA_HOME:-/none}" '12|13' || toolkit /usr/local/cuda 12); then
    flag=NVCC=$found
  else
    fetch 12.6 50
    flag=NVRTC=$packaged12/cuda_nvrtc/lib/libnvrtc.so.12
  fi
}

# checker sets flag to the make variable that names the compiler of check.
checker() {
  local found
  if ! found=$(toolkit "${CUDA_HOME:-/none}" 13 || toolkit /usr/local/cuda 13); then
    fetch 13.0 100
    found=$packaged13/bin/nvcc
  fi
  flag=NVCC=$found
}

case "${1:-}" in
env)
  headers
  echo "export CGO_CFLAGS='-O2 -g $include'"
  # Our empty libcuda.a comes before any libcuda.so, and what nothing needs is not linked.
  echo "export CGO_LDFLAGS='-O2 -g -L$PWD/cuda/driver/lib -Wl,--as-needed'"
  ;;
soft | asan)
  make --no-print-directory -s -j"$(nproc)" -f cuda/build.mk "$1"
  ;;
image | resources)
  compiler
  make --no-print-directory -s -j"$(nproc)" -f cuda/build.mk "$flag" image
  [ "$1" = image ] || cp bin/cuda/resources.txt kernels/resources.txt
  ;;
planted)
  compiler
  make --no-print-directory -s -f cuda/build.mk "$flag" planted
  ;;
check)
  checker
  make --no-print-directory -s -j"$(nproc)" -f cuda/build.mk "$flag" check
  ;;
which)
  headers
  compiler
  echo "headers: $from"
  echo "compiler: ${flag#*=}"
  ;;
*)
  sed -n '2,16p' "$0" | cut -c3- >&2
  exit 2
  ;;
esac
