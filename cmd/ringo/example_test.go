package main

import (
	"context"
	"os"
)

func Example() {
	run(env{ctx: context.Background(), out: os.Stdout, err: os.Stderr, args: []string{"bench"}})
	// Output:
	// gpt-baby
	// gpt-char
	// gpt2-124m
	// gpt2-124m-gpu
	// gpt2-350m-gpu
	// mnist-conv
	// mnist-mlp
	// resnet18-gpu
	// resnet20
	// kernels
	// allreduce
}
