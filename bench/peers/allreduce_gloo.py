"""Times torch.distributed's all-reduce over Gloo as `ringo bench allreduce` does: batches of calls between barriers,
median over batches on rank 0, one JSON line per size.

Usage: allreduce_gloo.py WORLD SECONDS REWRITE BYTES...   (with REWRITE 1 the vector is written, untimed, before every call)
"""

import json
import mmap
import os
import sys
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def worker(rank, world, seconds, rewrite, sizes, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    for size in sizes:
        memory = mmap.mmap(-1, max(size, 2 << 20), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)  # as ringo's vectors
        buf = torch.frombuffer(memory, dtype=torch.float32, count=size // 4).zero_()
        batch = max(1, min(100, (4 << 20) // size))

        def run():
            calls, spent = 1 if rewrite else batch, 0.0
            for _ in range(batch // calls):
                if rewrite:
                    buf.mul_(0.5)
                dist.barrier()
                start = time.perf_counter()
                for _ in range(calls):
                    dist.all_reduce(buf)
                spent += time.perf_counter() - start
            return spent * 1e3 / batch

        run()
        n = torch.tensor([max(3, min(200, seconds * 1e3 / (run() * batch)))])
        dist.broadcast(n, 0)
        ms = sorted(run() for _ in range(int(n)))
        if rank == 0:
            mid = ms[len(ms) // 2]
            print(json.dumps({"job": "allreduce", "world": world, "bytes": size, "ms": mid, "min_ms": ms[0],
                              "bus_GBps": 2 * (world - 1) / world * size / mid / 1e6}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    world, seconds, rewrite, sizes = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "1", [int(s) for s in sys.argv[4:]]
    mp.spawn(worker, (world, seconds, rewrite, sizes, 29500 + os.getpid() % 1000), nprocs=world)
