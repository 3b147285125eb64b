package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"ringo/bench"
)

type benchCmd struct {
	Jobs  []string `arg:"" optional:"" help:"Jobs to time, or kernels; none lists them."`
	DType string   `name:"dtype" enum:"fp32,bf16" default:"fp32" help:"Precision of matrix products: fp32 or bf16."`
	Steps int      `placeholder:"N" help:"Timed steps; 0 is about six seconds' worth."`
	JSON  bool     `name:"json" help:"Print one JSON object per job."`
	// Profile prints where the time of a step goes in place of the step's time.
	Profile bool `help:"Time every instruction of a step by itself, as a table."`
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
	if c.Device != "auto" {
		cfg.Device = c.Device
	}
	if err := cfg.Validate(); err != nil {
		return usage{err}
	}
	if c.Profile && (c.JSON || slices.Contains(c.Jobs, kernelJob)) {
		return usage{fmt.Errorf("--profile: prints a table for training jobs, expected neither --json nor the job %s", kernelJob)}
	}
	if len(c.Jobs) == 0 {
		fmt.Fprintln(e.out, slices.Concat(bench.Names(), []string{kernelJob}))
		return nil
	}
	for _, name := range c.Jobs {
		if name == kernelJob {
			rs, err := bench.Kernels(cfg)
			if err != nil {
				return err
			}
			if !c.JSON {
				bench.PrintKernels(e.out, rs, cfg)
				continue
			}
			for _, r := range rs {
				if err := json.NewEncoder(e.out).Encode(r); err != nil {
					return err
				}
			}
			continue
		}
		job, err := bench.Find(name)
		if err != nil {
			return usage{err}
		}
		if c.Profile {
			if err := bench.Profile(e.out, job, cfg); err != nil {
				return err
			}
			continue
		}
		r, err := bench.Run(job, cfg)
		if err != nil {
			return err
		}
		if c.JSON {
			if err := json.NewEncoder(e.out).Encode(r); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(e.out, "%-12s %s %s, %d threads: %.2f ms a step (%.2f to %.2f over %d), %.0f samples/s, %.0f GFLOP/s, %.0f %% of the GEMM peak, %.0f MB\n",
			r.Job, r.Device, r.DType, r.Threads, r.MS, r.MinMS, r.MaxMS, r.Steps, r.Samples, r.GFLOPS, 100*r.PeakShare, float64(r.PeakRSS)/1e6)
	}
	return nil
}
