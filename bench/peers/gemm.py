"""GFLOP/s of peers at the matrix shapes of GPT-2 and of small GPTs, one JSON object per line.

    go test -c -o /tmp/kernels.test ./kernels
    python gemm.py [--threads N] [--repeats N] [--only gpt2,gpt-char,gpt-baby] [--dtype fp32,bf16] [--ringo /tmp/kernels.test]

With --ringo, ringo's own kernels run shape by shape between the peers, bf16 with bf16 factors and result as the peers have. Peers: torch fp32 (MKL or oneDNN), torch bf16 (oneDNN), numpy fp32 (OpenBLAS). Each figure is the best of REPEATS runs.
Forms: "nn" x·w, "nt" dy·wᵀ (dX: the weight is stored (N,K)), "tn" xᵀ·dy (dW: A is stored (K,M)).
Keep the list equal to gemmShapes in kernels/gemm_bench_test.go.
"""

import argparse
import json
import os
import re
import subprocess
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--repeats", type=int, default=15)
parser.add_argument("--only", default="gpt2,gpt-char,gpt-baby")
parser.add_argument("--dtype", default="fp32,bf16")
parser.add_argument("--ringo", default="")
args = parser.parse_args()
THREADS, REPEATS, DTYPES = args.threads, args.repeats, args.dtype.split(",")
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = str(THREADS)

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


def best(run, flop):
    """Best time of REPEATS runs; short products run several times per measurement."""
    inner = max(1, int(2e7 / flop))
    low = 1e9
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(inner):
            run()
        low = min(low, (time.perf_counter() - start) / inner)
    return flop / low / 1e9


def measure(m, k, n, form):
    """GFLOP/s of every peer for C(m,n) = op(A)·op(B)."""
    a = torch.rand((k, m) if form == "tn" else (m, k)) - 0.5
    b = torch.rand((n, k) if form == "nt" else (k, n)) - 0.5
    out = {}
    for peer, dtype in (("torch_fp32", torch.float32), ("torch_bf16", torch.bfloat16)):
        if peer[-4:] not in DTYPES:
            continue
        ta, tb, c = a.to(dtype), b.to(dtype), torch.empty((m, n), dtype=dtype)
        ta = ta.t() if form == "tn" else ta
        tb = tb.t() if form == "nt" else tb
        torch.mm(ta, tb, out=c)
        out[peer] = best(lambda: torch.mm(ta, tb, out=c), 2.0 * m * k * n)
    if "fp32" not in DTYPES:
        return out
    na = a.numpy().T if form == "tn" else a.numpy()
    nb = b.numpy().T if form == "nt" else b.numpy()
    nc = np.empty((m, n), np.float32)
    out["numpy_fp32"] = best(lambda: np.matmul(na, nb, out=nc), 2.0 * m * k * n)
    return out


def ringo(name, form, m, k, n):
    """GFLOP/s of ringo's own benchmark of the shape, its best iteration."""
    out = {}
    for dtype, short in (("fp32", "f32"), ("bf16", "bf16")):
        if dtype in DTYPES:
            which = f"^BenchmarkGEMM$/^{name}$/^{form}$/^{m}x{k}x{n}$/^{short}$"
            run = [args.ringo, "-test.run=^$", f"-test.bench={which}", f"-test.benchtime={REPEATS}x", f"-test.cpu={THREADS}"]
            time.sleep(0.3)  # the peers' threads spin for a while after their last product
            text = subprocess.run(run, capture_output=True, text=True, check=True).stdout
            out["ringo_" + dtype] = float(re.search(r"([\d.]+) GFLOP/s", text)[1])
    return out


for name, form, m, k, n in shapes():
    if name not in args.only.split(","):
        continue
    row = {"job": name, "form": form, "m": m, "k": k, "n": n, "threads": THREADS}
    rates = measure(m, k, n, form)
    if args.ringo:
        rates |= ringo(name, form, m, k, n)
    for dtype in DTYPES if args.ringo else []:
        rates["ratio_" + dtype] = rates["ringo_" + dtype] / max(r for p, r in rates.items() if p.endswith(dtype) and p[:5] != "ringo")
    row.update({peer: round(rate, 2 if "ratio" in peer else 1) for peer, rate in rates.items()})
    print(json.dumps(row), flush=True)
