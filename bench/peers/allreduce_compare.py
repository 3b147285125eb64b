"""Runs ringo, OpenMPI and Gloo on the same all-reduces in turn, A B C A B C, and prints a Markdown table of times.

Usage: allreduce_compare.py [--ringo bin/ringo] [--world 2] [--sizes 65536,1048576,...] [--rounds 3] [--seconds 0.5] [--skip NAME,...] [--rewrite]

Needs openmpi-bin and libopenmpi-dev (Debian), and PyTorch in the Python that runs it. A cell is a program's fastest
batch of all rounds / the smallest over rounds of its median; the ratios are the medians over rounds of ringo's such times divided by the best peer's of
the same round, so that a drift of the machine's speed cancels. Below 1 ringo is faster. All bind their processes to processors but Gloo.
--rewrite has every program write its vectors before each call, untimed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TIMES = ["min_ms", "ms"]
DEFAULT = [65536, 262144, 1 << 20, 4 << 20, 16 << 20, 128 << 20]


def run(cmd):
    out = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if out.returncode:
        raise SystemExit(f"{' '.join(cmd)}: exit code {out.returncode}")
    return {r["bytes"]: r for r in map(json.loads, filter(lambda l: l.startswith("{"), out.stdout.splitlines()))}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--ringo", default="bin/ringo")
    ap.add_argument("--world", type=int, default=2)
    ap.add_argument("--sizes", default=",".join(map(str, DEFAULT)))
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=0.5)
    ap.add_argument("--skip", default="")
    ap.add_argument("--rewrite", action="store_true")
    a = ap.parse_args()
    sizes, n, s = a.sizes.split(","), str(a.world), str(a.seconds)
    with tempfile.TemporaryDirectory() as tmp:
        mpi = os.path.join(tmp, "allreduce_mpi")
        subprocess.run(["mpicc", "-O2", "-o", mpi, os.path.join(HERE, "allreduce_mpi.c")], check=True)
        mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", n]
        ours = [a.ringo, "bench", "allreduce", "--json", "--world", n, "--size", a.sizes, "--seconds", str(6 * a.seconds), "--transport"]
        ours[-1:-1] = ["--rewrite"] * a.rewrite
        s = [s, str(int(a.rewrite))]
        groups = {
            "tcp": {"ringo tcp": ours + ["tcp"],
                    "OpenMPI tcp": mpirun + ["--mca", "btl", "self,tcp", "--mca", "btl_tcp_if_include", "lo", mpi] + s + sizes,
                    "Gloo": [sys.executable, os.path.join(HERE, "allreduce_gloo.py"), n] + s + sizes},
            "shm": {"ringo shm": ours + ["shm"], "OpenMPI shm": mpirun + ["--mca", "btl", "self,vader", mpi] + s + sizes},
        }
        for g in groups.values():
            for name in [k for k in g if k in a.skip.split(",")]:
                del g[name]
        rounds = [{name: run(cmd) for g in groups.values() for name, cmd in g.items()} for _ in range(a.rounds)]
    names = [name for g in groups.values() for name in g]
    print(f"{a.world} workers, milliseconds\n\n| bytes | " + " | ".join(names) + " | tcp ratio | shm ratio |")
    print("|---" * (len(names) + 3) + "|")
    for size in map(int, sizes):
        cells = [" / ".join(f"{min(r[name][size][k] for r in rounds):.3f}" for k in TIMES) for name in names]
        for g in groups.values():
            mine, *peers = g or [""]
            cells.append(" / ".join(f"{statistics.median(r[mine][size][k] / min(r[p][size][k] for p in peers) for r in rounds):.2f}" for k in TIMES) if peers else "")
        print(f"| {size} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
