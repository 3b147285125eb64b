package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringo/bench"
)

type benchCmd struct {
	Jobs    []string `arg:"" optional:"" help:"Jobs to time, or kernels; none lists them."`
	DType   string   `name:"dtype" enum:"fp32,bf16," default:"" help:"Precision of matrix products: fp32 or bf16; the job's own where it is not given."`
	Steps   int      `placeholder:"N" help:"Timed steps; 0 is as many as fit in the time."`
	Seconds float64  `default:"6" placeholder:"S" help:"Time for a job's steps where their number is not given."`
	JSON    bool     `name:"json" help:"Print one JSON object per job."`
	Profile bool     `help:"Time every instruction of a step by itself, as a table."`
	allReduceFlags
	deviceFlags
}

// kernelJob times every kernel against its roofline in place of a training step.
const kernelJob = "kernels"

func (c *benchCmd) Run(e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	cfg := bench.DefaultConfig()
	cfg.DType, cfg.Threads, cfg.Steps = c.DType, c.Threads, c.Steps
	cfg.Budget = time.Duration(c.Seconds * float64(time.Second))
	if c.Device != "auto" {
		cfg.Device = c.Device
	}
	if err := cfg.Validate(); err != nil {
		return usage{err}
	}
	if c.Profile && (c.JSON || slices.Contains(c.Jobs, kernelJob)) {
		return usage{fmt.Errorf("--profile: prints a table for training jobs, expected neither --json nor the job %s", kernelJob)}
	}
	if slices.Contains(c.Jobs, allReduceJob) {
		return c.allReduce(e)
	}
	if len(c.Jobs) == 0 {
		fmt.Fprintln(e.out, strings.Join(append(bench.Names(), kernelJob, allReduceJob), "\n"))
		return nil
	}
	for _, name := range c.Jobs {
		if _, err := bench.Find(name); err != nil && name != kernelJob {
			return usage{err}
		}
	}
	if len(c.Jobs) > 1 {
		return c.each(e, cfg)
	}
	return c.one(e, cfg, c.Jobs[0])
}

// each runs every job in a process of its own: peak memory is then the job's, and no job finds caches that
// another left warm.
func (c *benchCmd) each(e *env, cfg bench.Config) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, name := range c.Jobs {
		args := []string{"bench", name, "--dtype", cfg.DType, "--device", c.Device, "--threads", strconv.Itoa(cfg.Threads),
			"--steps", strconv.Itoa(cfg.Steps), "--seconds", fmt.Sprint(cfg.Budget.Seconds())}
		if c.JSON {
			args = append(args, "--json")
		}
		if c.Profile {
			args = append(args, "--profile")
		}
		child := exec.Command(self, args...)
		child.Stdout, child.Stderr = e.out, os.Stderr
		if err := child.Run(); err != nil {
			return fmt.Errorf("bench %s: %w", name, err)
		}
	}
	return nil
}

func (c *benchCmd) one(e *env, cfg bench.Config, name string) error {
	if name == kernelJob {
		return c.kernels(e, cfg)
	}
	job, err := bench.Find(name)
	if err != nil {
		return usage{err}
	}
	if c.Profile {
		return bench.Profile(e.out, job, cfg)
	}
	r, err := bench.Run(job, cfg)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.out).Encode(r)
	}
	fmt.Fprintf(e.out, "%-12s %s %s, %d threads: %.2f ms a step (%.2f to %.2f over %d), %.0f samples/s, %.0f GFLOP/s, %.0f %% of the GEMM peak, %.0f MB\n",
		r.Job, r.Device, r.DType, r.Threads, r.MS, r.MinMS, r.MaxMS, r.Steps, r.Samples, r.GFLOPS, 100*r.PeakShare, float64(r.PeakRSS)/1e6)
	return nil
}

func (c *benchCmd) kernels(e *env, cfg bench.Config) error {
	if cfg.DType == "" {
		cfg.DType = "fp32"
	}
	rs, err := bench.Kernels(cfg)
	if err != nil {
		return err
	}
	if !c.JSON {
		bench.PrintKernels(e.out, rs, cfg)
		return nil
	}
	for _, r := range rs {
		if err := json.NewEncoder(e.out).Encode(r); err != nil {
			return err
		}
	}
	return nil
}
