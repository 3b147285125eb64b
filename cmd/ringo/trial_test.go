package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/data"
)

// gptChar is configs/gpt-char.yaml with lanes for eight workers, every step logged and sums that do not depend on who computes.
const gptChar = `model: {name: gpt, layers: 4, heads: 4, width: 128, context: 64, dropout: 0.0}
data: {%s, tokenizer: char, split: 0.9}
train: {steps: %d, batch: 16, lanes: 8, precision: fp32, seed: 1337, eval_every: 1000000, eval_batches: 4, log_every: 1, reduce: reproducible}
optim: {name: adamw, lr: 1e-3, min_lr: 1e-4, warmup: 20, schedule: cosine, betas: [0.9, 0.99], weight_decay: 0.1, clip: 1.0}
`

// trial is a run that is to be disturbed.
type trial struct {
	cfg   string // configuration file
	steps int
	lanes int
	want  string // the undisturbed run's model
}

// newTrial makes a run of so many steps of a small model; under make soak it is gpt-char's model, on tinyshakespeare or,
// where that is not here, on Go's source text.
func newTrial(t *testing.T, dir string, steps, gptSteps int) *trial {
	t.Helper()
	r := &trial{steps: steps, lanes: 16}
	text := fmt.Sprintf(elastic, steps)
	if soaking() {
		r.steps, r.lanes = gptSteps, 8
		source := "source: go-stdlib"
		if path, err := data.Find("tinyshakespeare/input.txt"); err == nil {
			source = "source: text, path: " + path
		} else if path, err := data.Find(filepath.Join("..", "..", "..", "shared", "data", "tinyshakespeare", "input.txt")); err == nil {
			source = "source: text, path: " + path
		}
		text = fmt.Sprintf(gptChar, source, gptSteps)
	}
	r.cfg = write(t, dir, "trial.yaml", text)
	r.want = startJob(t, 1, r.cfg, filepath.Join(dir, "undisturbed")).finish(r.steps)
	return r
}

// envSoak makes tests long; its value is a number of kills. `make soak` sets it.
const envSoak = "RINGO_SOAK"

func soaking() bool { return os.Getenv(envSoak) != "" }

// onlySoak skips a test that make test has no time for.
func onlySoak(t *testing.T) {
	t.Helper()
	if !soaking() {
		t.Skip("make soak runs it")
	}
}

// recovery is what a launcher says of the first step in a view: times in ms.
type recovery struct{ all, agreement, ring, state, step int }

var recovered = regexp.MustCompile(`view \d+: step \d+ was completed (\d+) ms after (the break|it was agreed on) agreement=(-?\d+) ring=(-?\d+) state=(-?\d+) step=(-?\d+)`)

// recoveries reads a launcher's log: views after a break, and others (joins), slowest last.
func recoveries(log string) (breaks, joins []recovery) {
	for _, m := range recovered.FindAllStringSubmatch(log, -1) {
		var n [7]int
		for i, s := range m {
			n[i], _ = strconv.Atoi(s)
		}
		r := recovery{n[1], n[3], n[4], n[5], n[6]}
		if m[2] == "the break" {
			breaks = append(breaks, r)
		} else {
			joins = append(joins, r)
		}
	}
	for _, list := range [][]recovery{breaks, joins} {
		slices.SortFunc(list, func(a, b recovery) int { return a.all - b.all })
	}
	return breaks, joins
}

// summary says how long recoveries took, and what the slowest consists of.
func summarize(list []recovery) string {
	if len(list) == 0 {
		return "none"
	}
	last := list[len(list)-1]
	return fmt.Sprintf("%d: median %d ms, slowest %d ms (agreement %d, ring %d, one state %d, step %d)", len(list),
		list[len(list)/2].all, last.all, last.agreement, last.ring, last.state, last.step)
}

// TestRecoveriesAreRead: what this file reads is what launchers say.
func TestRecoveriesAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := startJob(t, 2, write(t, dir, "elastic.yaml", fmt.Sprintf(elastic, 20)), filepath.Join(dir, "run"))
	j.finish(20)
	_, joins := recoveries(j.err.String())
	require.NotEmpty(t, joins, j.err.String())
}
