"""Times torch.distributed's all-reduce over Gloo as `ringo bench allreduce` does: batches of calls between barriers,
median over batches on rank 0, one JSON line per size.

Usage: allreduce_gloo.py WORLD SECONDS BYTES...
"""

import json
import mmap
import os
import sys
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def worker(rank, world, seconds, sizes, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    for size in sizes:
        memory = mmap.mmap(-1, max(size, 2 << 20), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory.madvise(mmap.MADV_HUGEPAGE)  # as ringo's vectors
        buf = torch.frombuffer(memory, dtype=torch.float32, count=size // 4).zero_()
        batch = max(1, min(100, (4 << 20) // size))

        def run():
            dist.barrier()
            start = time.perf_counter()
            for _ in range(batch):
                dist.all_reduce(buf)
            return (time.perf_counter() - start) * 1e3 / batch

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
    world, seconds, sizes = int(sys.argv[1]), float(sys.argv[2]), [int(s) for s in sys.argv[3:]]
    mp.spawn(worker, (world, seconds, sizes, 29500 + os.getpid() % 1000), nprocs=world)
