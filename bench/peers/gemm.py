"""GFLOP/s of peers at the matrix shapes of GPT-2 and of small GPTs, one JSON object per line.

    python gemm.py [THREADS] [REPEATS]

Peers: torch fp32 (MKL or oneDNN), torch bf16 (oneDNN), numpy fp32 (OpenBLAS). Each figure is the best of REPEATS runs.
Forms: "nn" x·w, "nt" dy·wᵀ (dX: the weight is stored (N,K)), "tn" xᵀ·dy (dW: A is stored (K,M)).
Keep the list equal to gemmShapes in kernels/gemm_bench_test.go.
"""

import json
import os
import sys
import time

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count()
REPEATS = int(sys.argv[2]) if len(sys.argv) > 2 else 15
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
        ta, tb, c = a.to(dtype), b.to(dtype), torch.empty((m, n), dtype=dtype)
        ta = ta.t() if form == "tn" else ta
        tb = tb.t() if form == "nt" else tb
        torch.mm(ta, tb, out=c)
        out[peer] = best(lambda: torch.mm(ta, tb, out=c), 2.0 * m * k * n)
    na = a.numpy().T if form == "tn" else a.numpy()
    nb = b.numpy().T if form == "nt" else b.numpy()
    nc = np.empty((m, n), np.float32)
    out["numpy_fp32"] = best(lambda: np.matmul(na, nb, out=nc), 2.0 * m * k * n)
    return out


for name, form, m, k, n in shapes():
    row = {"job": name, "form": form, "m": m, "k": k, "n": n, "threads": THREADS}
    row.update({peer: round(rate, 1) for peer, rate in measure(m, k, n, form).items()})
    print(json.dumps(row), flush=True)
