// Times MPI_Allreduce on f32 vectors as `ringo bench allreduce` does: batches of calls between barriers, median over batches on
// rank 0, one JSON line per size. With REWRITE 1 the vector is written, untimed, before every call.
//
// Usage: mpicc -O2 -o allreduce_mpi allreduce_mpi.c
//        mpirun -n 2 --mca btl self,tcp --mca btl_tcp_if_include lo allreduce_mpi SECONDS REWRITE BYTES...
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static int rewrite;

static double batch_ms(float *buf, long elems, int batch) {
  int calls = rewrite ? 1 : batch;
  double spent = 0;
  for (int done = 0; done < batch; done += calls) {
    for (long i = 0; rewrite && i < elems; i++) buf[i] *= 0.5f;
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    for (int i = 0; i < calls; i++)
      MPI_Allreduce(MPI_IN_PLACE, buf, (int)elems, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    spent += MPI_Wtime() - start;
  }
  return spent * 1e3 / batch;
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  int rank, world;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &world);
  double seconds = argc > 1 ? atof(argv[1]) : 1, ms[200];
  rewrite = argc > 2 && atoi(argv[2]);
  for (int a = 3; a < argc; a++) {
    long bytes = atol(argv[a]);
    const long huge = 2 << 20, whole = (bytes + huge - 1) / huge * huge;
    float *buf = aligned_alloc(huge, whole);
    madvise(buf, whole, MADV_HUGEPAGE); // as ringo's vectors
    memset(buf, 0, bytes);
    int batch = bytes > (4 << 20) ? 1 : (4 << 20) / bytes > 100 ? 100 : (int)((4 << 20) / bytes);
    batch_ms(buf, bytes / 4, batch);
    double first = batch_ms(buf, bytes / 4, batch), n = seconds * 1e3 / (first * batch);
    int runs = n < 3 ? 3 : n > 200 ? 200 : (int)n;
    MPI_Bcast(&runs, 1, MPI_INT, 0, MPI_COMM_WORLD);
    for (int i = 0; i < runs; i++) ms[i] = batch_ms(buf, bytes / 4, batch);
    qsort(ms, runs, sizeof ms[0], by_value);
    if (rank == 0) {
      printf("{\"job\":\"allreduce\",\"world\":%d,\"bytes\":%ld,\"ms\":%.4f,\"min_ms\":%.4f,\"bus_GBps\":%.3f}\n", world, bytes, ms[runs / 2], ms[0],
             2.0 * (world - 1) / world * bytes / ms[runs / 2] / 1e6);
      fflush(stdout);
    }
    free(buf);
  }
  MPI_Finalize();
  return 0;
}
