package sim_test

import (
	"fmt"
	"time"

	"ringo/collective/sim"
)

// One seed is one schedule, with the same faults and the same end every time.
func ExampleRun() {
	r := sim.Run(sim.Options{Seed: 7, Hosts: 3})
	fmt.Println(r.Err, r.Majority, r.Events == sim.Run(sim.Options{Seed: 7, Hosts: 3}).Events)
	// Output: <nil> true true
}

// GPT-2 124M on eight nodes with 1 Gbit/s, one second of work per step: what helps?
func ExampleStepTime() {
	c := sim.Cluster{Nodes: 8, WorkersPerNode: 1, Network: sim.Link{Latency: 50 * time.Microsecond, Bandwidth: 0.949 * 125e6}}
	s := sim.Step{Parameters: 124_439_808, Compute: 10 * time.Second, Buckets: 25}
	for _, change := range []func(){func() {}, func() { s.Overlap = true }, func() { s.Wire = sim.BF16 }, func() { s.Wire = sim.INT8 }} {
		change()
		e, _ := sim.StepTime(c, s)
		fmt.Printf("%5.2f s, %.0f %%\n", e.Step.Seconds(), 100*e.Efficiency)
	}
	// Output:
	// 17.36 s, 58 %
	// 10.96 s, 91 %
	// 10.15 s, 99 %
	// 10.08 s, 99 %
}
