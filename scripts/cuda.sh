#!/usr/bin/env bash
# Finds or fetches what the build tag cuda needs, and builds with it. No GPU and no driver are needed.
#
#   scripts/cuda.sh env     print the environment that go build -tags cuda needs: eval "$(scripts/cuda.sh env)"
#   scripts/cuda.sh soft    build the software CUDA device, bin/libringo_softcuda.so (asan: with AddressSanitizer)
#   scripts/cuda.sh image   compile the kernels for GPUs, into cuda/image; no GPU is needed
#   scripts/cuda.sh resources   image, and write registers and spills of every kernel to kernels/resources.txt
#   scripts/cuda.sh which   say what was found
#
# Headers of CUDA 12 are taken from CUDA_HOME, /usr/local/cuda, the system's include folder, or else from NVIDIA's Python
# packages, which go to a cache: RINGO_CUDA_CACHE, ~/.cache/ringo/cuda where it is not set.
set -euo pipefail
cd "$(dirname "$0")/.."

version=12.6
packages=(nvidia-cuda-runtime-cu12==12.6.77 nvidia-cuda-nvcc-cu12==12.6.85 nvidia-cuda-nvrtc-cu12==12.6.85 nvidia-cuda-cccl-cu12==12.6.77)
cache=${RINGO_CUDA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ringo/cuda}/$version

say() { echo "cuda: $*" >&2; }

# usable FOLDER: whether it has a cuda.h that gorgonia.org/cu compiles with: 11.8 up to, not including, 13.
usable() {
  local v
  v=$(sed -n 's/^#define CUDA_VERSION \([0-9]*\).*/\1/p' "$1/cuda.h" 2>/dev/null)
  [ -n "$v" ] && [ "$v" -ge 11080 ] && [ "$v" -lt 13000 ]
}

fetch() {
  [ -e "$cache/complete" ] && return
  local tmp
  mkdir -p "$cache"
  tmp=$(mktemp -d "$cache/XXXXXX")
  say "fetching CUDA $version headers and compiler (about 50 MB) to $cache"
  if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$tmp" "${packages[@]}" >&2; then
    rm -rf "$tmp"
    say "no CUDA 12 headers here and none could be fetched: install a CUDA 12 toolkit and set CUDA_HOME, or python3 with pip and a network"
    return 1
  fi
  for wheel in "$tmp"/*.whl; do
    python3 -m zipfile -e "$wheel" "$tmp/unpacked"
  done
  rm -rf "$cache/nvidia"
  mv "$tmp/unpacked/nvidia" "$cache/nvidia"
  chmod +x "$cache"/nvidia/cuda_nvcc/bin/*
  rm -rf "$tmp"
  touch "$cache/complete"
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
  fetch
  from="$cache (NVIDIA's Python packages)"
  include="-I$cache/nvidia/cuda_runtime/include -I$cache/nvidia/cuda_nvcc/include -I$cache/nvidia/cuda_cccl/include"
}

# compiler sets flag to the make variable that names a compiler: a toolkit's nvcc 12, else NVRTC from the packages.
compiler() {
  local dir
  for dir in ${CUDA_HOME:+"$CUDA_HOME"} /usr/local/cuda; do
    if [ -x "$dir/bin/nvcc" ] && "$dir/bin/nvcc" --version | grep -q 'release 12\.'; then
      flag="NVCC=$dir/bin/nvcc"
      return
    fi
  done
  fetch
  flag="NVRTC=$cache/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"
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
which)
  headers
  compiler
  echo "headers: $from"
  echo "compiler: ${flag#*=}"
  ;;
*)
  sed -n '2,12p' "$0" | cut -c3- >&2
  exit 2
  ;;
esac
