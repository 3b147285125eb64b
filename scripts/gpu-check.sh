#!/usr/bin/env bash
# Checks and times ringo on a machine with an NVIDIA GPU and writes a Markdown report. It runs in the source tree (after
# make cuda) and from a bundle (make gpu-bundle), which needs no Go and no compiler: only the driver, and cuBLAS to be fast.
#
#   scripts/gpu-check.sh [-o REPORT.md] [STAGE…]
#
# Stages, in order; none named means all. Each is a process of its own with a time limit, and the report is written again
# after each, so what is known is kept whatever fails. A later call with other stages adds to the same report.
#
#   machine    driver, libraries, GPUs                                               20 s
#   smoke      three ops, three training steps, memory shared by two processes      90 s
#   ops        every op against the float64 reference, f32 and bf16                 300 s
#   shapes     products, attention, convolutions over several tiles                 180 s
#   golden     ten steps against PyTorch's losses and the CPU's, twice to the same bits   180 s
#   sanitizer  compute-sanitizer on our kernels at small shapes                     300 s
#   jobs       gpt2-124m, gpt2-350m, resnet18                                       180 s
#   kernels    instructions beside the roofline                                     120 s
#   profile    where a step's time goes                                              60 s
#   torch      the same jobs in PyTorch, compiled; Flash and cuDNN attention        400 s
#   llmc       llm.c, where LLMC names its train_gpt2cu                             120 s
#
# SECONDS_PER_JOB (default 15) is the time for a job's steps. BUDGET, where set, is the time for all stages of a call, in
# seconds: what would go on longer is ended then, what would begin later is left out. PARTS (default: beside the report) is the
# folder of the stages' own texts. DEVICE (default cuda) names another device: soft tries the script itself. It ends with 1 where
# a check fails.
set -uo pipefail
cd "$(dirname "$0")/.."
report=gpu-report.md
if [ "${1:-}" = -o ]; then
  report=$2
  shift 2
fi
all=(machine smoke ops shapes golden sanitizer jobs kernels profile torch llmc)
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=("${all[@]}")
device=${DEVICE:-cuda}
seconds=${SECONDS_PER_JOB:-15}
parts=${PARTS:-$report.parts}
failed=0
mkdir -p "$parts"
export RINGO_TEST_DEVICE=$device
# Tools of a toolkit whose folder is not on the path.
export PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin:${CUDA_HOME:-/usr/local/cuda}/compute-sanitizer:/usr/local/nvidia/bin
# CUDA's libraries are looked for in the active Python's packages: PyTorch's, where a python3 that is no link leads to it.
: "${VIRTUAL_ENV:=$(python3 -c 'import sys; print(sys.prefix)' 2>/dev/null)}"
export VIRTUAL_ENV

test=$PWD/bin/cuda.test
if command -v go >/dev/null && [ -e go.mod ]; then
  eval "$(scripts/cuda.sh env)" && go test -tags cuda -c -o "$test" ./cuda || exit 1
elif [ ! -x "$test" ]; then
  echo "bin/cuda.test is not here and neither is Go: make gpu-bundle packs both programs where Go is" >&2
  exit 1
fi

say() { echo "$*" | tee -a "$part"; }

# limited SECONDS COMMAND…: the command, ended when its time or the call's is over.
limited() {
  local limit=$1 left=$((${BUDGET:-86400} - SECONDS))
  shift
  if [ "$left" -lt 10 ]; then
    echo "the time of this call is over"
    return 124
  fi
  timeout -k 5 $((limit < left ? limit : left)) "$@"
}

# block TITLE SECONDS COMMAND…: its output in the report, its failure counted, with the reason. A shell of its own does not know
# this one's pipefail: one with a pipe sets it, or the last program's success would be all that counts.
block() {
  local title=$1 limit=$2 rc start=$SECONDS
  shift 2
  say "" && say "## $title" && say "" && say '```'
  limited "$limit" "$@" 2>&1 | cut -c1-400 | tail -n 150 | tee -a "$part"
  rc=${PIPESTATUS[0]}
  say '```'
  case $rc in
  0) say "" && say "passed, $((SECONDS - start)) s" ;;
  124 | 137) say "" && say "**ended after $((SECONDS - start)) s; its limit is $limit s**" && failed=1 ;;
  *) say "" && say "**failed with code $rc**, $((SECONDS - start)) s" && failed=1 ;;
  esac
  return "$rc"
}

# tests PATTERN: tests of the package cuda, run where its files are.
tests() { (cd cuda && exec "$test" -test.run "$1" "${@:2}"); }
export -f tests
export test

stage_machine() {
  block "What the machine offers" 60 bin/ringo doctor
  command -v nvidia-smi >/dev/null && block "Driver" 20 nvidia-smi
  return 0
}

stage_smoke() {
  block "Three ops" 60 bash -c "tests '^TestSuite\$/^ops\$/^(add|matmul|softmax)\$'" &&
    block "A small job" 60 bin/ringo bench mnist-mlp --device "$device" --steps 3 --json
  block "Memory that two processes share" 30 bash -c "tests '^TestIPC\$'"
}

# An error of a kernel stays with the process: where all ops together fail, each gets a process, so that the report names
# those that are wrong.
stage_ops() {
  local suite op
  for suite in TestSuite TestSuiteBF16; do
    block "Every op against the float64 reference: $suite" 150 bash -c "tests '^$suite\$'" && continue
    say "" && say "One by one, those that fail:" && say '```'
    for op in $(cd cuda && limited 150 "$test" -test.run "^$suite\$/^ops\$" -test.v 2>/dev/null | sed -n "s|^=== RUN *$suite/ops/\([^/]*\)\$|\1|p" | sort -u); do
      limited 30 bash -c "tests '^$suite\$/^ops\$/^$op\$'" >"$parts/op.log" 2>&1 || say "$op: $(grep -m1 -E 'CUDA_ERROR|panic|Error:|max error|differ' "$parts/op.log" || echo failed)"
    done
    say '```'
  done
}

# By warpgroups last: what a wrong kernel leaves behind stays with its process.
stage_shapes() {
  block "Several tiles, every head size" 180 bash -c "tests '^TestShapes\$'"
  block "Attention by warpgroups, on a Hopper GPU" 120 bash -c "tests '^TestWarpgroups'"
}

stage_golden() {
  block "Ten steps against PyTorch's losses and the CPU's, and twice to the same bits" 180 bash -c "set -o pipefail; tests '^TestGolden(OverLanes)?\$' -test.v | grep -v '^=== '"
}

stage_jobs() {
  local job
  for job in gpt2-124m-gpu gpt2-350m-gpu resnet18-gpu; do
    block "$job" 100 bin/ringo bench "$job" --device "$device" --dtype bf16 --seconds "$seconds" --json
  done
}

stage_kernels() { block "Instructions beside the roofline" 120 bin/ringo bench kernels --device "$device" --dtype bf16; }

stage_profile() {
  block "gpt2-124m-gpu, by instruction" 60 bash -c "set -o pipefail; bin/ringo bench gpt2-124m-gpu --device $device --dtype bf16 --profile --steps 20 | sed -n 1,40p"
}

stage_torch() {
  local attention
  if ! python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    say "" && say "python3 has no PyTorch with CUDA: no figures beside ours."
    return
  fi
  for attention in flash cudnn; do
    block "PyTorch, compiled, $attention attention" 150 python3 bench/peers/train_gpu.py --job gpt2-124m --attention "$attention" --seconds "$seconds"
  done
  block "PyTorch, compiled, resnet18" 150 python3 bench/peers/train_gpu.py --job resnet18 --seconds "$seconds"
}

# llm.c starts from random weights on random tokens, as the other jobs do, and keeps every activation (-r 0), as ringo does.
stage_llmc() {
  if [ ! -x "${LLMC:-}" ]; then
    say "" && say "LLMC names no train_gpt2cu: no figures of llm.c."
    return
  fi
  python3 -c 'import array, random, sys
random.seed(1)
n = 1 << 20
header = array.array("i", [20240520, 1, n] + 253 * [0])
tokens = array.array("H", (random.randrange(50257) for _ in range(n)))
open(sys.argv[1], "wb").write(header.tobytes() + tokens.tobytes())' "$parts/tokens.bin"
  block "llm.c" 120 bash -c "set -o pipefail; LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:/usr/local/cuda/lib64 '$LLMC' -e d12 -i '$parts/tokens.bin' -j '$parts/tokens.bin' -b 64 -t 1024 -d 65536 -r 0 -x 40 -v 1000 -m 1 -s 0 -h 0 | grep -E 'MiB|^step' | tail -n 24"
}

stage_sanitizer() {
  local tool
  if ! command -v compute-sanitizer >/dev/null; then
    say "" && say "compute-sanitizer is not here: memory and races were not checked."
    return
  fi
  # Without cuBLASLt: products are checked that are ours. Calls that fail are not reported: a kernel is asked for its parameters until
  # there is none, and looked for in one image after the other, so hundreds do, and each would count as an error.
  for tool in memcheck racecheck initcheck synccheck; do
    block "compute-sanitizer $tool" 100 env RINGO_CUBLASLT=/none bash -c "set -o pipefail; cd cuda && compute-sanitizer --tool $tool --report-api-errors no --error-exitcode 1 '$test' -test.run '^(TestSuite|TestWarpgroups)\$/^ops\$/^(layernorm|softmax|matmul|attention|cross_entropy|adamw|conv2d|embedding)' | tail -n 25"
  done
}

# assemble writes the report from the parts there are, in the order of the stages.
assemble() {
  local stage
  {
    echo "# ringo on $(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1)"
    echo
    echo "$(date -u +%Y-%m-%dT%H:%MZ), device $device"
    for stage in "${all[@]}"; do
      if [ -e "$parts/$stage.md" ]; then cat "$parts/$stage.md"; fi
    done
  } >"$report.new" && mv "$report.new" "$report"
}
trap assemble EXIT

for stage in "${stages[@]}"; do
  if ! declare -F "stage_$stage" >/dev/null; then
    echo "no stage $stage: expected some of ${all[*]}" >&2
    exit 2
  fi
  part=$parts/$stage.md
  : >"$part"
  "stage_$stage"
  assemble
done
echo
if [ $failed = 0 ]; then echo "All checks of these stages passed: $report"; else echo "Some checks failed: $report"; fi
exit $failed
