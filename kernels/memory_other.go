//go:build !linux

package kernels

func adviseHugePages([]byte) {}
