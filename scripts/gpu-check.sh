#!/usr/bin/env bash
# Checks and times ringo on a machine with an NVIDIA GPU and writes a Markdown report. It runs in the source tree (after
# make cuda) and from a bundle (make gpu-bundle), which needs no Go and no compiler: only the driver, and cuBLAS to be fast.
#
#   scripts/gpu-check.sh [REPORT.md]
#
# Beside ringo's benchmarks it runs the same jobs in PyTorch where python3 has it, and llm.c where LLMC names its
# train_gpt2cu. SECONDS_PER_JOB (default 20) is the time for a job's steps. It ends with 1 where a check fails.
set -uo pipefail
cd "$(dirname "$0")/.."
report=${1:-gpu-report.md}
seconds=${SECONDS_PER_JOB:-20}
failed=0
export RINGO_TEST_DEVICE=cuda
# cuBLAS where the loader does not look by itself: the toolkit's folder, PyTorch's packages.
packaged=$(python3 -c 'import glob, os, site
print(":".join({os.path.dirname(f) for s in site.getsitepackages() for f in glob.glob(s + "/nvidia/*/lib/libcublasLt.so.1?")}))' 2>/dev/null)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}:/usr/local/cuda/lib64:$packaged

test=bin/cuda.test
if [ ! -x "$test" ]; then
  eval "$(scripts/cuda.sh env)" && go test -tags cuda -c -o "$test" ./cuda || exit 1
fi
test=$PWD/$test

say() { echo "$*" | tee -a "$report"; }
block() { # block TITLE COMMAND…: its output in the report, its failure counted
  local title=$1
  shift
  say "" && say "## $title" && say "" && say '```'
  if "$@" 2>&1 | tee -a "$report"; then
    say '```'
  else
    say '```' && say "" && say "**failed**"
    failed=1
  fi
}

: >"$report"
say "# ringo on $(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1)"
say "" && say "$(date -u +%Y-%m-%dT%H:%MZ), $(bin/ringo doctor | sed -n 's/^ok  ringo *//p')"
block "What the machine offers" bin/ringo doctor
block "Driver" nvidia-smi
block "Every op against the float64 reference" bash -c "cd cuda && '$test' -test.run '^(TestSuite|TestSuiteBF16)\$'"
block "Ten steps against PyTorch's losses and the CPU's, and twice to the same bits" bash -c "cd cuda && '$test' -test.run '^TestGolden' -test.v | grep -v '^=== '"

if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    block "compute-sanitizer $tool" bash -c "cd cuda && compute-sanitizer --tool $tool --error-exitcode 1 '$test' -test.run '^TestSuite\$/^ops\$/^(layernorm|softmax|matmul|attention|cross_entropy|adamw|conv2d|embedding)' | tail -n 5"
  done
else
  say "" && say "compute-sanitizer is not here: memory and races were not checked."
fi

for job in gpt2-124m-gpu gpt2-350m-gpu resnet18-gpu; do
  block "$job" bin/ringo bench "$job" --device cuda --dtype bf16 --seconds "$seconds"
  block "$job, by instruction" bash -c "bin/ringo bench $job --device cuda --dtype bf16 --profile --steps 20 | head -n 25"
done
if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  for attention in flash cudnn; do
    block "PyTorch, compiled, $attention attention" python3 bench/peers/train_gpu.py --job gpt2-124m --attention "$attention" --seconds "$seconds"
  done
  block "PyTorch, compiled, resnet18" python3 bench/peers/train_gpu.py --job resnet18 --seconds "$seconds"
else
  say "" && say "python3 has no PyTorch with CUDA: no figures beside ours."
fi
if [ -x "${LLMC:-}" ]; then
  block "llm.c" bash -c "cd '$(dirname "${LLMC:-.}")' && '$LLMC' -b 64 -t 1024 -d 65536 -r 0 -x 40 -v 0 -s 0 -h 0 | tail -n 12"
fi
say "" && [ $failed = 0 ] && say "All checks passed." || say "Some checks failed."
exit $failed
