"""Runs ringo and PyTorch on the same jobs in turn, A B A B, and prints step times and ratios as a Markdown table.

Usage: compare.py [JOB...] [--ringo bin/ringo] [--threads 2] [--dtype fp32] [--rounds 3] [--seconds 4] [--compile]

Each round starts both programs afresh; the ratio of a job is the median over rounds of ringo's median step time
divided by PyTorch's of the same round, so that a drift of the machine's speed cancels.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT = ["gpt2-124m", "gpt-baby", "gpt-char", "mnist-mlp", "mnist-conv"]


def run(cmd):
    out = subprocess.run(cmd, stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("jobs", nargs="*", default=DEFAULT)
    ap.add_argument("--ringo", default="bin/ringo")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--dtype", default="fp32")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=4)
    ap.add_argument("--compile", action="store_true")
    a = ap.parse_args()
    print("| job | dtype | ringo ms | PyTorch ms | ratio | ringo peak MB | PyTorch peak MB |\n|---|---|---|---|---|---|---|", flush=True)
    for job in a.jobs:
        rows = []
        for _ in range(a.rounds):
            ours = run([a.ringo, "bench", job, "--json", "--dtype", a.dtype, "--threads", str(a.threads), "--seconds", str(a.seconds)])
            theirs = run([sys.executable, os.path.join(HERE, "train.py"), job, "--dtype", a.dtype, "--threads", str(a.threads), "--seconds", str(a.seconds)]
                         + (["--compile"] if a.compile else []))
            rows.append((ours, theirs))
        med = lambda f: statistics.median(f(o, t) for o, t in rows)
        print(f"| {job} | {a.dtype} | {med(lambda o, t: o['ms']):.2f} | {med(lambda o, t: t['ms']):.2f} | {med(lambda o, t: o['ms'] / t['ms']):.2f} "
              f"| {med(lambda o, t: o['peak_rss_bytes']) / 1e6:.0f} | {med(lambda o, t: t['peak_rss_bytes']) / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
