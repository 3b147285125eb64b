package kernels

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Cores returns the processors that this process may run on, in rising order: what its parent and its control group left it.
func Cores() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil
	}
	var cores []int
	for i := range len(set) * strconv.IntSize {
		if set.IsSet(i) {
			cores = append(cores, i)
		}
	}
	return cores
}

// PinCores keeps all threads of this process on the given processors, those that start later too: they inherit it. runtime.NumCPU goes on
// to say how many the process began with.
func PinCores(cores []int) error {
	var set unix.CPUSet
	for _, c := range cores {
		set.Set(c)
	}
	bound := map[int]bool{}
	for again := true; again; { // threads that were started meanwhile by one not bound yet
		again = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("keep to processors %v: %w", cores, err)
		}
		for _, t := range tasks {
			id, err := strconv.Atoi(t.Name())
			if err != nil || bound[id] {
				continue
			}
			if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("keep to processors %v: %w", cores, err)
			}
			bound[id], again = true, true
		}
	}
	return nil
}
