package main

import (
	"context"
	"os"
)

func Example() {
	run(env{ctx: context.Background(), out: os.Stdout, err: os.Stderr, args: []string{"bench"}})
	// Output: [gpt-baby gpt-char gpt2-124m mnist-conv mnist-mlp resnet20 kernels]
}
