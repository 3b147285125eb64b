"""GFLOP/s of peers and of ringo at the matrix shapes of GPT-2 and of small GPTs, one JSON object per line.

    go test -c -o /tmp/kernels.test ./kernels
    python gemm.py [--threads N] [--only gpt2,gpt-char,gpt-baby] [--shapes nn:256x768x2304,...] [--dtype fp32,bf16]
                   [--seconds S] [--rounds N] [--ringo /tmp/kernels.test]

Peers: torch fp32 (MKL or oneDNN), torch bf16 (oneDNN), numpy fp32 (OpenBLAS). With --ringo, ringo's own kernels are measured beside
them, bf16 with bf16 factors and result as the peers have. Forms: "nn" x·w, "nt" dy·wᵀ (dX: the weight is stored (N,K)),
"tn" xᵀ·dy (dW: A is stored (K,M)).

How a shape is measured, the same for every side:
- In rounds, the sides in turn, every second round the other way around. A round of a side is 50 ms of warm-up and then SECONDS of
  runs, of five at least; every run is timed (short products several together). Ringo is a new process in each round, so that
  its memory lies elsewhere each time; the peers stay in this one. Memory is in huge pages on both sides where the peer can use them.
- Before the next side begins, the threads of the last one have stopped spinning.
- A shared machine gives a core or a memory channel away for hundreds of milliseconds, which no number of runs in one round evens
  out. So rounds go on until every side has had two rounds whose best runs are within 3 %, and two whose medians are within 10 %, of
  its best run of all, and at least three rounds; or until there were --rounds of them ("settled": false).
Reported are the best run of all rounds (NAME, ratio_DTYPE) and the median of the rounds' median runs (NAME_median,
ratio_DTYPE_median); a ratio is ringo's rate over that of the best peer.

Keep the list of shapes equal to gemmShapes in kernels/gemm_bench_test.go.
"""

import argparse
import functools
import json
import os
import re
import statistics
import subprocess
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--seconds", type=float, default=0.1, help="of runs in a round of a side")
parser.add_argument("--rounds", type=int, default=8, help="at most, for a shape")
parser.add_argument("--only", default="gpt2,gpt-char,gpt-baby")
parser.add_argument("--shapes", default="", help="FORM:MxKxN,... instead of all")
parser.add_argument("--dtype", default="fp32,bf16")
parser.add_argument("--ringo", default="")
args = parser.parse_args()
THREADS, DTYPES = args.threads, args.dtype.split(",")
LEAST_ROUNDS, LEAST_RUNS, BEST_SPREAD, MEDIAN_SPREAD = 3, 5, 1.03, 1.1
WARM, SPIN = 0.05, 0.05  # seconds; after SPIN a peer's threads sleep
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = str(THREADS)
os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # torch: huge pages, as ringo's arenas have

import numpy as np  # noqa: E402  (after the thread counts)
import torch  # noqa: E402

torch.set_num_threads(THREADS)


def shapes():
    """Yields (name, form, M, K, N)."""
    for tokens in (256, 1024):
        for k, n in ((768, 2304), (768, 768), (768, 3072), (3072, 768), (768, 50257)):
            if n == 50257 and tokens != 256:
                continue
            yield "gpt2", "nn", tokens, k, n
            yield "gpt2", "nt", tokens, n, k  # dX: (tokens, n)·(k, n)ᵀ
            yield "gpt2", "tn", k, tokens, n  # dW: (tokens, k)ᵀ·(tokens, n)
    for tokens in (192, 768):
        for k, n in ((128, 128), (128, 384), (128, 512), (512, 128)):
            yield "gpt-char", "nn", tokens, k, n
            yield "gpt-char", "nt", tokens, n, k
            yield "gpt-char", "tn", k, tokens, n
    for k, n in ((384, 1152), (384, 384), (384, 1536), (1536, 384)):
        yield "gpt-baby", "nn", 4096, k, n
        yield "gpt-baby", "nt", 4096, n, k
        yield "gpt-baby", "tn", k, 4096, n


def timed(run, flop):
    """(best, median) GFLOP/s of a round of run(), a product of `flop` operations."""
    inner = 1 + int(2e7 / flop)
    took, start = [], time.perf_counter()
    while time.perf_counter() - start < WARM:
        run()
    start = time.perf_counter()
    while time.perf_counter() - start < args.seconds or len(took) < LEAST_RUNS:
        begin = time.perf_counter()
        for _ in range(inner):
            run()
        took.append((time.perf_counter() - begin) / inner)
    time.sleep(SPIN)
    return flop / min(took) / 1e9, flop / statistics.median(took) / 1e9


def peers(m, k, n, form):
    """Yields (name, function that measures a round) of every peer for C(m,n) = op(A)·op(B)."""
    a = torch.rand((k, m) if form == "tn" else (m, k)) - 0.5
    b = torch.rand((n, k) if form == "nt" else (k, n)) - 0.5
    flop = 2.0 * m * k * n

    def of_torch(dtype):
        ta, tb, c = a.to(dtype), b.to(dtype), torch.empty((m, n), dtype=dtype)
        ta = ta.t() if form == "tn" else ta
        tb = tb.t() if form == "nt" else tb
        return lambda: timed(lambda: torch.mm(ta, tb, out=c), flop)

    if "bf16" in DTYPES:
        yield "torch_bf16", of_torch(torch.bfloat16)
    if "fp32" in DTYPES:
        yield "torch_fp32", of_torch(torch.float32)
        na = a.numpy().T if form == "tn" else a.numpy()
        nb = b.numpy().T if form == "nt" else b.numpy()
        nc = np.empty((m, n), np.float32)
        yield "numpy_fp32", lambda: timed(lambda: np.matmul(na, nb, out=nc), flop)


def ringo(name, form, m, k, n):
    """Yields the same of ringo's own benchmark of the shape, which warms up by itself."""
    for dtype, short, rate in (("bf16", "bf16", 2e12), ("fp32", "f32", 4e11)):
        if dtype not in DTYPES:
            continue
        which = f"^BenchmarkGEMM$/^{name}$/^{form}$/^{m}x{k}x{n}$/^{short}$"
        long = 2.0 * m * k * n > args.seconds / LEAST_RUNS * rate  # at this rate fewer runs than that would fit
        length = f"{LEAST_RUNS}x" if long else f"{args.seconds}s"
        run = [args.ringo, "-test.run=^$", f"-test.bench={which}", f"-test.benchtime={length}", f"-test.cpu={THREADS}"]
        yield "ringo_" + dtype, functools.partial(rates_of, run)


def rates_of(run):
    """(best, median) of a benchmark that the command `run` runs."""
    text = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    return tuple(float(re.search(r"([\d.]+) " + unit, text)[1]) for unit in ("GFLOP/s", "median-GFLOP/s"))


def settled(rounds):
    """A side was twice as fast as ever, and twice for most of a round."""
    top = max(best for best, _ in rounds)
    often = sum(best * BEST_SPREAD >= top for best, _ in rounds)
    long = sum(median * MEDIAN_SPREAD >= top for _, median in rounds)
    return len(rounds) >= LEAST_ROUNDS and often >= 2 and long >= 2


def measure(sides):
    """Rates of all sides, round by round; whether they settled."""
    rounds = {side: [] for side in sides}
    for number in range(args.rounds):
        for side in list(sides) if number % 2 == 0 else reversed(sides):
            rounds[side].append(sides[side]())
        if all(settled(of_side) for of_side in rounds.values()):
            return rounds, True
    return rounds, False


for name, form, m, k, n in shapes():
    if name not in args.only.split(",") or args.shapes and f"{form}:{m}x{k}x{n}" not in args.shapes.split(","):
        continue
    sides = dict(peers(m, k, n, form))
    if args.ringo:
        sides |= dict(ringo(name, form, m, k, n))
    rounds, steady = measure(sides)
    row = {"job": name, "form": form, "m": m, "k": k, "n": n, "threads": THREADS, "rounds": len(next(iter(rounds.values()))), "settled": steady}
    for suffix, rate in (("", lambda of_side: max(best for best, _ in of_side)), ("_median", lambda of_side: statistics.median(m for _, m in of_side))):
        rates = {side: rate(of_side) for side, of_side in rounds.items()}
        row |= {side + suffix: round(r, 1) for side, r in rates.items()}
        for dtype in DTYPES if args.ringo else []:
            best_peer = max(r for side, r in rates.items() if side.endswith(dtype) and not side.startswith("ringo"))
            row["ratio_" + dtype + suffix] = round(rates["ringo_" + dtype] / best_peer, 2)
    print(json.dumps(row), flush=True)
