#!/usr/bin/env bash
# Packs what scripts/gpu-check.sh needs on a GPU machine without Go: binary, tests, their data, scripts.
# Usage: scripts/gpu-bundle.sh OUT.tar.gz
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-bin/ringo-gpu.tar.gz}
limit=$((60 << 20))

scripts/build.sh cuda
eval "$(scripts/cuda.sh env)"
"${GO:-go}" test -tags cuda -trimpath -ldflags='-s -w' -c -o bin/cuda.test ./cuda
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/ringo/bin" "$dir/ringo/cuda"
cp bin/cuda.test bin/libringo_softcuda.so "$dir/ringo/bin/"
"${GO:-go}" build -tags cuda -trimpath -ldflags='-s -w' -o "$dir/ringo/bin/ringo" ./cmd/ringo
cp --parents -r models/testdata kernels/resources.txt scripts/gpu-check.sh bench/peers configs "$dir/ringo/" 2>/dev/null || true
tar -C "$dir" -czf "$out" ringo
size=$(stat -c %s "$out")
echo "$out: $((size >> 20)) MiB; on the GPU machine: tar xzf $(basename "$out") && ringo/scripts/gpu-check.sh" >&2
[ "$size" -le "$limit" ] || { echo "$out is larger than $((limit >> 20)) MiB" >&2; exit 1; }
