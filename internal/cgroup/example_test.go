package cgroup_test

import (
	"fmt"
	"runtime"

	"ringo/internal/cgroup"
)

// A thread pool has no more threads than can run.
func ExampleProcessors() {
	n := cgroup.Processors()
	fmt.Println(n >= 1 && n <= runtime.NumCPU())
	// Output: true
}
