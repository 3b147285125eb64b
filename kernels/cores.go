package kernels

// ShareCores deals processors to workers of so many threads each: neighbours in the list to one worker, as those share caches. It returns
// nil where binding would do harm: there are fewer processors than threads, or so many that a second job of this size
// would fit, which would be bound to the same ones.
func ShareCores(cores []int, workers, threads int) [][]int {
	n := workers * threads
	if n < 1 || n > len(cores) || 2*n <= len(cores) {
		return nil
	}
	sets := make([][]int, workers)
	for w := range sets {
		sets[w] = cores[w*threads : (w+1)*threads : (w+1)*threads]
	}
	return sets
}
