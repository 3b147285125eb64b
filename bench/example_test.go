package bench_test

import (
	"fmt"
	"os"

	"ringo/bench"
)

func ExampleRun() {
	job, err := bench.Find("mnist-mlp")
	if err != nil {
		fmt.Println(err)
		return
	}
	c := bench.DefaultConfig()
	c.Steps = 1
	r, err := bench.Run(job, c)
	fmt.Println(r.Job, r.DType, r.Steps, r.Loss > 0, err)
	// Output: mnist-mlp fp32 1 true <nil>
}

// Where does the time of a step go? `ringo bench gpt-char --profile` is this.
func ExampleProfile() {
	job, err := bench.Find("gpt-char")
	if err == nil {
		err = bench.Profile(os.Stdout, job, bench.DefaultConfig())
	}
	if err != nil {
		fmt.Println(err)
	}
}
