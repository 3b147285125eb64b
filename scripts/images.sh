#!/usr/bin/env bash
# Builds the container images, or tries built ones as they are meant to be run. DOCKER names another client, such as podman.
#
#   scripts/images.sh build [FLAGS]   ringo (CPU) and ringo:cuda; FLAGS go to docker build, such as --network host
#   scripts/images.sh check           contents, users, read-only root, limits, launch, stop and resume; no GPU is needed, 30 s
set -euo pipefail
cd "$(dirname "$0")/.."
docker=${DOCKER:-docker}
config=/usr/share/ringo/configs/gpt-stdlib.yaml
short="--set train.steps=20 --set optim.warmup=5 --set train.eval_every=20 --set train.eval_batches=2 --set train.sample=0"
locked="--network none --read-only --cap-drop ALL --security-opt no-new-privileges"

build() {
  local commit
  commit=$(git rev-parse HEAD 2>/dev/null || true)
  [ -z "$(git status --porcelain 2>/dev/null)" ] || commit=$commit-changed
  # BuildKit is the default since Docker 23; older ones have it.
  export DOCKER_BUILDKIT=1
  $docker build "$@" --build-arg REVISION="$commit" -t ringo .
  $docker build "$@" --build-arg REVISION="$commit" -t ringo:cuda -f Dockerfile.cuda .
  $docker images ringo
}

fail() {
  echo "images: $*" >&2
  exit 1
}

# expect WHAT PATTERN COMMAND… runs a command that must succeed and print the pattern.
expect() {
  local what=$1 pattern=$2 out
  shift 2
  out=$("$@" 2>&1) || fail "$what: exit status $?: $out"
  grep -q -- "$pattern" <<<"$out" || fail "$what: no '$pattern' in: $out"
  echo "ok  $what"
}

# contents IMAGE: nothing that builds, nothing to log in with, no setuid files, no keys, no sources but the text to train on.
contents() {
  local c list bad
  c=$($docker create "$1")
  list=$($docker export "$c" | tar -tv)
  $docker rm -v "$c" >/dev/null
  bad=$(grep -E '^-..s|^-.....s|[ /](sh|bash|dash|busybox|gcc|cc|ld|go|nvcc|python3?|apt-get|dpkg)$|\.(cu|a|o|key)$|/\.git/|/root/.+|go-build|_test\.go$' <<<"$list" ||
    true)
  [ -z "$bad" ] || fail "$1 contains: $bad"
  echo "ok  $1: contents, $($docker image inspect -f '{{.Size}}' "$1" | numfmt --to=si)B"
}

check() {
  local image command out
  volume=ringo-check-$$ run=ringo-check-$$
  trap '$docker rm -f "$run" >/dev/null 2>&1 || true; $docker volume rm "$volume" "$volume-2" >/dev/null 2>&1 || true' EXIT
  for image in ringo ringo:cuda; do
    contents "$image"
    expect "$image: doctor" 'device cpu' $docker run --rm $locked "$image"
    expect "$image: trains, reading only its volume's folder" 'finished after 20 steps' \
      $docker run --rm $locked -v "$volume:/data" "$image" train -c $config $short
    expect "$image: any user, in a new volume" 'finished after 20 steps' \
      $docker run --rm $locked --user 12345:12345 -v "$volume-2:/data" "$image" train -c $config $short
    expect "$image: two workers with 64 KiB of /dev/shm" 'finished after 20 steps' \
      $docker run --rm $locked --shm-size 64k -v "$volume:/data" "$image" launch -n 2 -c $config $short --set train.lanes=2
    expect "$image: no more threads than --cpus" '1 threads' $docker run --rm $locked --cpus 1 "$image"
    expect "$image: healthy with a volume" '^$' $docker run --rm $locked -v "$volume:/data" "$image" doctor --health
    ! out=$($docker run --rm $locked -v "$volume:/data:ro" "$image" doctor --health 2>&1) || fail "$image: healthy with a volume that it cannot write: $out"
    $docker volume rm "$volume" "$volume-2" >/dev/null
  done
  expect "ringo:cuda: cuBLASLt and NCCL" 'ok  NCCL  *2' $docker run --rm $locked ringo:cuda
  for command in train "launch -n 2 --set train.lanes=2"; do
    stopped "$command"
    $docker volume rm "$volume" >/dev/null
  done
}

# stopped COMMAND: docker stop ends a run well within its ten seconds, and --resume goes on where it was.
stopped() {
  local began status step
  $docker run -d --name "$run" $locked -v "$volume:/data" ringo $1 -c $config $short --set train.steps=100000 >/dev/null
  timeout 60 bash -c "until $docker logs $run 2>&1 | grep -q '^step'; do sleep 0.1; done" || fail "$1: no step in 60 s"
  began=$(date +%s%N)
  $docker stop "$run" >/dev/null
  began=$((($(date +%s%N) - began) / 1000000))
  status=$($docker inspect -f '{{.State.ExitCode}}' "$run")
  step=$($docker logs "$run" 2>&1 | sed -n 's/^interrupted after step \([0-9]*\) of.*/\1/p')
  [ "$status" = 1 ] && [ -n "$step" ] || fail "$1: exit status $status after docker stop, expected 1: $($docker logs "$run" 2>&1 | tail -3)"
  $docker rm "$run" >/dev/null
  expect "ringo $1: stopped in $began ms after step $step, goes on" "going on after step $step" \
    $docker run --rm $locked -v "$volume:/data" ringo $1 -c $config $short --resume --set train.steps=$((step + 10))
}

case ${1:-} in
build) build "${@:2}" ;;
check) check ;;
*)
  sed -n '2,5p' "$0" | cut -c3- >&2
  exit 2
  ;;
esac
