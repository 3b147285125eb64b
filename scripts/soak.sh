#!/usr/bin/env bash
# Runs what `make test` has no time for, on real processes, and prints what was asked and what was measured.
# Usage: [KILLS=200] [SCHEDULES=200000] scripts/soak.sh [ROW…]
# Rows: worlds kills partition witness return leave soak launcher strangers link steptime simulator manifests; all by default.
# Network namespaces need root; without it those rows say that they were skipped.
set -uo pipefail
cd "$(dirname "$0")/.."
export RINGO_SOAK=${KILLS:-200}
schedules=${SCHEDULES:-200000}
rows=${*:-worlds kills partition witness return leave soak launcher strangers link steptime simulator manifests}
. scripts/table.sh

for r in $rows; do
  case $r in
  worlds) row "\`ringo launch -n 1,2,3,4,7\`, gpt-char" "identical \`model_sha256\`" suite ./cmd/ringo TestWorlds ;;
  kills) row "kill -9 of the lowest, a random, all but one in turn; joins; gpt-char" "same model; next step within 1 s; each sample once" suite ./cmd/ringo TestKillsOfRealWorkers ;;
  partition) row "five hosts cut 3/2, gpt-char" "three go on, two wait and rejoin; one view per epoch; same model" suite ./cmd/ringo TestRealPartition ;;
  witness) row "two hosts and a witness, either lost, gpt-char" "the other goes on; same model" suite ./cmd/ringo TestRealWitness ;;
  return) row "a host killed, launcher and worker, returns with --join" "receives the state; same model" suite ./cmd/ringo TestAHostReturns ;;
  leave) row "SIGTERM to the only host that has the state" "hands over, then leaves; no step again" suite ./cmd/ringo TestTheLastStateIsHandedOver ;;
  soak) row "$RINGO_SOAK kills and joins in one run" "finishes; no leak; same model" suite ./cmd/ringo TestSoakOfRealWorkers ;;
  launcher) row "$RINGO_SOAK kills in the launcher's process" "no goroutine, file left" suite ./collective/launch TestSoak ;;
  strangers) row "wrong key, garbage, half-open and slow peers, lies about sizes" "refused, training undisturbed" \
    suite ./collective/... 'TestStrangers.*|TestTrickling.*|TestLiars.*|TestRefusals|TestGarbage|TestNonsense|TestAnotherVersion.*|TestFrozen.*' ;;
  link) row "all-reduce on a link of 1 Gbit/s" "≥ 95 % of the line rate" suite ./bench TestAllReduceFillsALink ;;
  steptime) row "\`sim.StepTime\` against jobs on 200 Mbit/s" "ring, hierarchical, compressed" suite ./cmd/ringo TestStepTimeOnShapedLinks ;;
  simulator) row "simulator, $schedules schedules" "no violation" suite ./collective/sim TestSchedules -sim.first=$((RANDOM * 32768 + RANDOM)) -sim.schedules="$schedules" ;;
  manifests) row "Kubernetes manifests" "valid" scripts/k8s/check.sh ;;
  *)
    echo "soak.sh: row $r: unknown; see the head of this file" >&2
    exit 2
    ;;
  esac
done
finish
