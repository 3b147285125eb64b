//go:build !linux

package kernels

func adviseHugePages([]byte) {}

func roundToHugePages(n int) int { return n }
