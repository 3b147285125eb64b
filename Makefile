# Two commands: `make run` trains a small GPT on this machine, `make test` runs every test.
.DEFAULT_GOAL := help
SHELL := /bin/bash
GO ?= go
FUZZTIME ?= 10s
KILLS ?= 200
SCHEDULES ?= 200000
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help run build cuda soft test soak int8 test-cuda gpu-bundle images test-images lint bench fuzz clean tools

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

tools: ## check for Go and a C compiler; as root on Debian or Ubuntu install what is missing
	@bash scripts/tools.sh

build: tools ## build bin/ringo, with CUDA where that is possible
	@GO=$(GO) scripts/build.sh auto

cuda: tools ## build bin/ringo with CUDA, or say what is missing
	@GO=$(GO) scripts/build.sh cuda

soft: ## build the software CUDA device, bin/libringo_softcuda.so
	@scripts/cuda.sh soft

# Kernels for GPUs take minutes to compile: only where there is a GPU do they come before the first run.
run: tools ## train a character GPT on Go's own source text and show what it writes
	@GO=$(GO) scripts/build.sh $(if $(wildcard /dev/nvidiactl),auto,cpu)
	@bin/ringo train -c configs/gpt-stdlib.yaml

test: tools ## run every test
	$(GO) test ./...

soak: tools ## kill workers KILLS=200 times, cut networks, play SCHEDULES=200000, and print asked and measured: 15 minutes, as root
	@GO=$(GO) KILLS=$(KILLS) SCHEDULES=$(SCHEDULES) scripts/soak.sh $(ROWS)

int8: build ## train, export and measure what docs/quantization.md says of INT8: 8 minutes
	@GO=$(GO) scripts/int8.sh $(ROWS)

fuzz: tools ## fuzz every parser and protocol for FUZZTIME=10s each
	@GO=$(GO) scripts/fuzz.sh $(FUZZTIME)

test-cuda: tools ## run every test of the build with CUDA; no GPU is needed
	@GO=$(GO) scripts/cuda-test.sh

gpu-bundle: tools ## pack binary, tests and scripts to check a GPU machine that has no Go
	@GO=$(GO) scripts/gpu-bundle.sh bin/ringo-gpu.tar.gz

images: ## build the container images ringo and ringo:cuda; FLAGS go to docker build
	@scripts/images.sh build $(FLAGS)

test-images: ## run the built images as they are meant to be run: 30 s, no GPU
	@scripts/images.sh check

lint: tools ## gofmt, vet, staticcheck, import arrows, generated files, other platforms
	@bash scripts/lint.sh $(STATICCHECK)

bench: build ## time whole training steps and kernels
	@bin/ringo bench gpt2-124m gpt-char gpt-baby mnist-mlp mnist-conv
	@bin/ringo bench kernels

clean: ## remove what was built
	rm -rf bin
