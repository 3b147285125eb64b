package train

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/train/config"
)

func TestSchedules(t *testing.T) {
	t.Parallel()
	const steps, warmup, lr, floor = 100, 10, 1.0, 0.1
	for name, points := range map[string]map[int]float64{
		"constant": {0: 1.0 / 11, 9: 10.0 / 11, 10: 1, 50: 1, 99: 1, 100: 1},
		"linear":   {10: 1, 55: 0.55, 100: 0.1},
		// nanoGPT: min + ½(1 + cos(π·(it−warmup)/(steps−warmup)))·(lr−min)
		"cosine": {0: 1.0 / 11, 10: 1, 55: 0.55, 32: 0.1 + 0.45*(1+math.Cos(math.Pi*22/90)), 100: 0.1, 200: 0.1},
		"wsd":    {10: 1, 79: 1, 80: 1, 85: 0.1 + 0.9*0.5, 100: 0.1},
	} {
		o := config.Optim{Schedule: name, LR: lr, MinLR: floor, Warmup: warmup, Decay: 0.2}
		for step, want := range points {
			got, err := LearningRate(o, step, steps)
			require.NoError(t, err)
			require.InDelta(t, want, got, 1e-12, "%s at %d", name, step)
		}
	}
	_, err := LearningRate(config.Optim{Schedule: "x"}, 0, 1)
	require.ErrorContains(t, err, "unknown")
}

func TestSampling(t *testing.T) {
	t.Parallel()
	logits := []float32{1, 3, 2, float32(math.Log(0)), 3}
	draws := func(how Sampling) map[int32]int {
		require.NoError(t, how.Validate())
		s := sampler{Sampling: how}
		n := map[int32]int{}
		for i := range 4000 {
			n[s.draw(logits, i)]++
		}
		return n
	}
	require.Equal(t, map[int32]int{1: 4000}, draws(Sampling{}), "temperature 0: the likeliest, the first of equals")
	require.Equal(t, map[int32]int{1: 4000}, draws(Sampling{Temperature: 1, TopK: 1}))
	require.Len(t, draws(Sampling{Temperature: 1, TopK: 3}), 3)
	require.Len(t, draws(Sampling{Temperature: 1, TopP: 0.7}), 2, "the two likeliest hold 0.79")
	require.Len(t, draws(Sampling{Temperature: 1, TopP: 1e-9}), 1, "at least one is kept")
	all := draws(Sampling{Temperature: 1})
	require.Zero(t, all[3], "probability 0")
	total := 0.0
	for _, x := range logits {
		total += math.Exp(float64(x))
	}
	for id, n := range all {
		p := math.Exp(float64(logits[id])) / total
		require.InDelta(t, p, float64(n)/4000, 5*math.Sqrt(p*(1-p)/4000), "five standard errors")
	}
	require.Equal(t, all, draws(Sampling{Temperature: 1}), "a function of the seed")
	require.NotEqual(t, all, draws(Sampling{Temperature: 1, Seed: 1}))
	for want, how := range map[string]Sampling{
		"temperature": {Temperature: -1}, "top-k": {TopK: -1}, "top-p": {TopP: 1.5},
	} {
		require.ErrorContains(t, how.Validate(), want)
	}
}

func ExampleLearningRate() {
	o := config.Default().Optim // cosine from 1e-3 to 0
	for _, step := range []int{0, 50, 100} {
		lr, _ := LearningRate(o, step, 100)
		fmt.Printf("%.4f ", lr)
	}
	// Output: 0.0010 0.0005 0.0000
}
