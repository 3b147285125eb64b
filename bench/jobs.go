// Package bench owns the benchmarks: each job is a workload (what is computed) that a Config runs and turns
// into a Result. Commands bind flags to Config and print Results, nothing more. bench/peers holds the same
// jobs for other frameworks. It must not know of runs, data sets or the command line.
package bench

import (
	"fmt"
	"sort"
	"strings"

	"ringo/models"
	"ringo/runtime/tensor"
)

// Job is a training workload: a model and a batch, on synthetic data, with AdamW.
type Job struct {
	Name  string
	Model models.Config
	Batch int
	About string
	// GPU jobs run in bf16 on a GPU where nothing else is asked for: they are too large for a CPU.
	GPU bool
}

// DType is the precision that a job runs in where none is asked for.
func (j Job) DType() string {
	if j.GPU {
		return "bf16"
	}
	return "fp32"
}

// Device is where a job runs where nothing is asked for.
func (j Job) Device() string {
	if j.GPU {
		return "cuda"
	}
	return "cpu"
}

// vocab is GPT-2's. For a GPU the planner fills rows of logits up to paddedVocab, as llm.c does; PyTorch, which does not, gets a
// vocabulary of that size.
const vocab, paddedVocab = 50257, 50304

// jobs is the table of training workloads. B batch, T time.
var jobs = []Job{
	{"gpt2-124m", models.Config{Name: "gpt", Layers: 12, Heads: 12, Width: 768, Context: 64, Vocab: vocab}, 4,
		"GPT-2 124M, B4 T64", false},
	{"gpt-char", models.Config{Name: "gpt", Layers: 4, Heads: 4, Width: 128, Context: 64, Vocab: 65}, 12,
		"character GPT, 4 layers of 128, B12 T64", false},
	{"gpt-baby", models.Config{Name: "gpt", Layers: 6, Heads: 6, Width: 384, Context: 256, Vocab: 65, Dropout: 0.2}, 16,
		"character GPT, 6 layers of 384, B16 T256, dropout 0.2", false},
	{"mnist-mlp", models.Config{Name: "mlp", Sizes: []int{512, 512}, Input: tensor.Shape{784}, Classes: 10}, 128,
		"784-512-512-10, B128", false},
	{"mnist-conv", models.Config{Name: "convnet", Channels: []int{32, 64}, Hidden: 128, Input: tensor.Shape{1, 28, 28}, Classes: 10}, 64,
		"3×3 conv 32, 3×3 conv 64, max-pool 2, dense 128, dense 10, B64", false},
	{"resnet20", models.Config{Name: "resnet", Layers: 20, Input: tensor.Shape{3, 32, 32}, Classes: 10}, 128,
		"CIFAR ResNet-20, B128", false},
	{"gpt2-124m-gpu", models.Config{Name: "gpt", Layers: 12, Heads: 12, Width: 768, Context: 1024, Vocab: vocab}, 64,
		"GPT-2 124M, B64 T1024", true},
	{"gpt2-350m-gpu", models.Config{Name: "gpt", Layers: 24, Heads: 16, Width: 1024, Context: 1024, Vocab: vocab}, 32,
		"GPT-2 350M, B32 T1024", true},
	{"resnet18-gpu", models.Config{Name: "resnet", Layers: 18, Input: tensor.Shape{3, 224, 224}, Classes: 1000}, 256,
		"ResNet-18, B256 3×224×224", true},
}

// Names lists the training jobs.
func Names() []string {
	var out []string
	for _, j := range jobs {
		out = append(out, j.Name)
	}
	sort.Strings(out)
	return out
}

// Find returns a job by name.
func Find(name string) (Job, error) {
	for _, j := range jobs {
		if j.Name == name {
			return j, nil
		}
	}
	return Job{}, fmt.Errorf("benchmark %q is unknown: expected kernels, allreduce or one of %s", name, strings.Join(Names(), ", "))
}
