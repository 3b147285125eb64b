#!/usr/bin/env bash
# Trains the models that INT8 exports are measured with, exports them, and prints what was asked and what was measured.
# Usage: scripts/int8.sh [ROW…]
# Rows: formats adult-mlp mnist-conv gpt-novels gpt2-124m; all by default. A row whose data are missing fails and names them.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/table.sh
rows=${*:-formats adult-mlp mnist-conv gpt-novels gpt2-124m}
runs=$(mktemp -d)
trap 'rm -rf "$table" "$log" "$runs"' EXIT
most_seconds=30
# Tests run in their package's folder: what is looked up beside this one must be named in full.
export RINGO_DATA=${RINGO_DATA:-$PWD/../shared/data}

# trained CONFIG: trains it and measures the run beside ONNX Runtime, one thread each.
trained() {
  bin/ringo train -c "configs/$1.yaml" --out "$runs/$1" || return
  RINGO_INT8_RUN=$runs/$1 suite ./export/quant TestReal
}

# large: every export of a short run of GPT-2's 124 million parameters, with its seconds and its peak memory, which may be
# twice the model's.
large() {
  local run=$runs/gpt2-124m model format said seconds peak
  bin/ringo train -c configs/gpt2-124m.yaml --set train.steps=20 --set optim.warmup=5 --set train.batch=4 --set train.lanes=1 \
    --set model.context=128 --set train.eval_every=20 --out "$run" || return
  model=$(($(stat -Lc %s "$run/checkpoints/latest/model.safetensors") / 1000000))
  for format in safetensors onnx gguf "gguf --dtype q8_0" "onnx --int8" "ringo --int8"; do
    # shellcheck disable=SC2086 # the format's flags are words
    said=$(bin/ringo export --checkpoint "$run" --format $format --out "$runs/${format// /}" | tail -n 1) || return
    seconds=$(sed -n 's/^.*; \([0-9.]*\) s, peak memory .*$/\1/p' <<<"$said")
    peak=$(sed -n 's/^.*peak memory \([0-9,]*\) MB$/\1/p' <<<"$said" | tr -d ,)
    echo "measured: $format $seconds s, $peak MB of the model's $model"
    awk "BEGIN{exit !($seconds < $most_seconds && $peak < 2 * $model)}" || return
  done
}

[ -x bin/ringo ] || make build || exit
for r in $rows; do
  case $r in
  formats) row "round trips; ONNX Runtime against ringo" "same bits; ≤ 1e-5" suite ./export/... 'TestRoundTrip.*|TestModels|TestGolden|TestTransformers|TestLlamaCpp|TestForeignFolders' ;;
  adult-mlp) row "adult-mlp, INT8" "≤ 0.25 points lost" trained adult-mlp ;;
  mnist-conv) row "mnist-conv, INT8" "≤ 0.1 points lost; ≥ 3.9 times smaller, ≥ 2 times faster; no slower than ONNX Runtime" trained mnist-conv ;;
  gpt-novels) row "gpt of 10.8 M parameters, W8A8 with SmoothQuant; Q8_0" "≤ 0.75 %; ≤ 0.05 %; ≥ 2 times faster; no slower than ONNX Runtime" trained gpt-novels ;;
  gpt2-124m) row "exports of 124 M parameters" "under $most_seconds s, under 200 % of the model" large ;;
  *)
    echo "int8.sh: row $r: unknown; see the head of this file" >&2
    exit 2
    ;;
  esac
done
finish
