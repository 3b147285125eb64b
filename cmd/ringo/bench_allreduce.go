package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"ringo/bench"
)

// allReduceJob times sums over worker processes.
const allReduceJob = "allreduce"

// allReduceFlags belong to the job allreduce.
type allReduceFlags struct {
	World     int    `default:"2" placeholder:"N" help:"allreduce: worker processes."`
	Size      string `placeholder:"BYTES,…" help:"allreduce: sizes of the f32 vector, such as 64K,1M,128M."`
	Transport string `default:"tcp" help:"allreduce: tcp, tls or shm."`
	Wire      string `default:"exact" help:"allreduce: how numbers travel: exact, bf16 or int8."`
	Conns     int    `default:"0" placeholder:"N" help:"allreduce: data connections per pair; 0 chooses."`
	Hosts     int    `default:"0" placeholder:"N" help:"allreduce: with shm, spread workers over so many pretended hosts, TCP between."`
	Pin       string `default:"auto" enum:"auto,off" help:"allreduce: keep every worker on a processor of its own, where there are as many (auto), or not (off)."`
	Rewrite   bool   `help:"allreduce: write the vectors before every call, untimed, as a backward pass does."`
	Worker    bool   `hidden:""`
}

func (c *benchCmd) allReduce(e *env) error {
	if c.Worker {
		return bench.AllReduceWorker(e.ctx, os.Stdin, e.out)
	}
	if len(c.Jobs) > 1 {
		return usage{fmt.Errorf("bench %s: expected alone, found %s", allReduceJob, strings.Join(c.Jobs, " "))}
	}
	cfg := bench.DefaultAllReduceConfig()
	cfg.World, cfg.Transport, cfg.Wire, cfg.Conns, cfg.Hosts = c.World, c.Transport, c.Wire, c.Conns, c.Hosts
	cfg.Pin, cfg.Rewrite = c.Pin == "auto", c.Rewrite
	cfg.Budget = time.Duration(c.Seconds / 6 * float64(time.Second)) // of each size
	if c.Size != "" {
		var err error
		if cfg.Sizes, err = parseSizes(c.Size); err != nil {
			return usage{err}
		}
	}
	if err := cfg.Validate(); err != nil {
		return usage{err}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	worker := func(int) []string { return []string{self, "bench", allReduceJob, "--worker"} }
	return bench.AllReduce(e.ctx, cfg, worker, func(r bench.AllReduceResult) error {
		if c.JSON {
			return json.NewEncoder(e.out).Encode(r)
		}
		_, err := fmt.Fprintf(e.out, "allreduce %s, %d workers, %9d bytes: %8.3f ms (%.3f at best), bus %.2f GB/s\n", r.Transport, r.World, r.Bytes, r.MS, r.MinMS, r.BusGBps)
		return err
	})
}

// parseSizes reads sizes in bytes, with K, M or G for powers of 1024.
func parseSizes(text string) ([]int, error) {
	var sizes []int
	for _, s := range strings.Split(text, ",") {
		shift := 0
		if i := strings.IndexAny(s, "KMG"); i == len(s)-1 && i > 0 {
			shift = 10 * (1 + strings.IndexByte("KMG", s[i]))
			s = s[:i]
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1<<40>>shift {
			return nil, fmt.Errorf("--size %s: expected bytes such as 65536, 64K, 1M", text)
		}
		sizes = append(sizes, n<<shift)
	}
	return sizes, nil
}
