package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asRingo makes the test binary behave as the command, for tests that need a process of their own.
const asRingo = "RINGO_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asRingo) != "" {
		main()
	}
	os.Exit(m.Run())
}

const mlp = `model: {name: mlp, sizes: [16]}
data: {source: synthetic, shape: [1, 4, 4], classes: 3, samples: 64, sampling: epoch}
train: {steps: 20, batch: 8, lanes: 2, eval_every: 10, save_every: 10}
optim: {name: adamw, lr: 1e-2}
`

// write puts a configuration into a folder and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// textConfig is a small language model on a text made here.
func textConfig(t *testing.T, dir string) string {
	t.Helper()
	input := write(t, dir, "input.txt", strings.Repeat("to be or not to be, that is the question. ", 60))
	return write(t, dir, "text.yaml", `model: {name: gpt, layers: 1, heads: 2, width: 16, context: 8}
data: {source: text, path: `+input+`, tokenizer: char}
train: {steps: 10, batch: 4, eval_batches: 2, sample: 12}
optim: {name: adamw, lr: 1e-2}
`)
}

// ringo runs a command line in this process.
func ringo(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(env{ctx: context.Background(), out: &o, err: &e, args: args})
	return code, o.String(), e.String()
}

// events parses --json output.
func events(t *testing.T, out string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(out) {
		var e map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		list = append(list, e)
	}
	return list
}

func TestTrainEvalGenerate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg, out := textConfig(t, dir), filepath.Join(dir, "run")
	code, text, errs := ringo(t, "train", "-c", cfg, "--out", out, "--device", "cpu")
	require.Zero(t, code, errs)
	for _, want := range []string{"gpt, ", "validation loss", "what the model writes", "finished after 10 steps", filepath.Join(out, "loss.png"), "step-10"} {
		require.Contains(t, text, want)
	}
	for _, f := range []string{"config.yaml", "metrics.jsonl", "loss.png", "tensorboard", "checkpoints/latest/model.safetensors", "checkpoints/step-10/MANIFEST.json"} {
		_, err := os.Stat(filepath.Join(out, f))
		require.NoError(t, err)
	}
	code, text, errs = ringo(t, "eval", "--checkpoint", out, "--json")
	require.Zero(t, code, errs)
	require.Equal(t, 10.0, events(t, text)[0]["step"])
	code, text, errs = ringo(t, "eval", "--checkpoint", out)
	require.Zero(t, code, errs)
	require.Contains(t, text, "perplexity")
	code, text, errs = ringo(t, "generate", "--checkpoint", out, "--prompt", "to be", "--tokens", "7")
	require.Zero(t, code, errs)
	require.Len(t, text, len("to be")+7+1)

	// The run's own configuration trains the same model again, as a new run beside the old one.
	first, err := os.ReadFile(filepath.Join(out, "checkpoints", "latest", "model.safetensors"))
	require.NoError(t, err)
	kept := write(t, dir, "kept.yaml", "")
	raw, err := os.ReadFile(filepath.Join(out, "config.yaml"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(kept, raw, 0o600))
	code, _, errs = ringo(t, "train", "-c", kept, "--out", out)
	require.Zero(t, code, errs)
	require.Contains(t, errs, out+".1")
	again, err := os.ReadFile(filepath.Join(out, "checkpoints", "latest", "model.safetensors"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(first, again))
	require.FileExists(t, filepath.Join(out+".1", "config.yaml"))
}

func TestTrainJSONIsJSONOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, out, errs := ringo(t, "train", "-c", write(t, dir, "m.yaml", mlp), "--out", filepath.Join(dir, "run"), "--json", "--set", "train.steps=5", "--set", "optim.clip=1")
	require.Zero(t, code, errs)
	require.Empty(t, errs)
	list := events(t, out)
	require.Equal(t, "start", list[0]["event"])
	require.Subset(t, keys(list[1]), []string{"event", "step", "loss", "lr", "grad_norm", "step_ms", "samples_per_s"})
	done := list[len(list)-1]
	require.Equal(t, "done", done["event"])
	require.Subset(t, keys(done), []string{"step", "val_loss", "accuracy", "model_sha256", "wall_s", "peak_rss_bytes"})
	stored, err := os.ReadFile(filepath.Join(dir, "run", "metrics.jsonl"))
	require.NoError(t, err)
	require.Equal(t, out, string(stored), "metrics.jsonl holds the lines that --json prints")
}

func keys(m map[string]any) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestExplain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := write(t, dir, "m.yaml", mlp)
	code, out, errs := ringo(t, "train", "-c", cfg, "--explain", "--device", "null", "--out", filepath.Join(dir, "run"))
	require.Zero(t, code, errs)
	require.Contains(t, out, "GFLOP")
	require.Contains(t, out, "arena")
	require.NoDirExists(t, filepath.Join(dir, "run"))
}

func TestGenerateNeedsALanguageModel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(dir, "run")
	code, _, errs := ringo(t, "train", "-c", write(t, dir, "m.yaml", mlp), "--out", out, "--set", "train.steps=1", "--json")
	require.Zero(t, code, errs)
	code, _, errs = ringo(t, "generate", "--checkpoint", out)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "no tokenizer")

	// A flipped bit: refused by its hash.
	path := filepath.Join(out, "checkpoints", "step-1", "model.safetensors")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	raw[len(raw)-3] ^= 8
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	code, _, errs = ringo(t, "eval", "--checkpoint", out)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "model.safetensors does not match its sha256")
	require.Contains(t, errs, "no older complete checkpoint")
}

func TestDataInspectAndDoctor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := textConfig(t, dir)
	code, out, errs := ringo(t, "data", "inspect", "-c", cfg)
	require.Zero(t, code, errs)
	require.Contains(t, out, "vocabulary")
	require.Contains(t, out, `begins       "to be or`)
	code, out, errs = ringo(t, "data", "inspect", write(t, dir, "t.csv", "a,b\n1,x\n2,y\n3,x\n"))
	require.Zero(t, code, errs)
	require.Contains(t, out, "column       b: target, category, 2 values: x, y")
	for _, args := range [][]string{{}, {"-c", cfg, dir}, {dir, "--set", "data.split=0.5"}} {
		code, _, errs = ringo(t, append([]string{"data", "inspect"}, args...)...)
		require.Equal(t, exitUsage, code, args)
		require.Contains(t, errs, "expected a path, or a configuration with -c")
	}
	code, out, errs = ringo(t, "doctor")
	require.Zero(t, code, errs)
	require.Contains(t, out, "device cpu")
	code, out, errs = ringo(t, "doctor", "--json")
	require.Zero(t, code, errs)
	require.Equal(t, "doctor", events(t, out)[0]["event"])
	code, out, _ = ringo(t)
	require.Zero(t, code)
	require.Contains(t, out, "Usage: ringo")
}

// A prepared text opens as the token files that the command names.
func TestDataPrepare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	code, out, errs := ringo(t, "data", "prepare", "-c", textConfig(t, dir), "--set", "data.tokenizer=byte", "--out", tokens)
	require.Zero(t, code, errs)
	require.Contains(t, out, "source: tokens, path: "+tokens)
	for _, name := range []string{"train.bin", "val.bin"} {
		info, err := os.Stat(filepath.Join(tokens, name))
		require.NoError(t, err)
		require.Positive(t, info.Size())
	}
	code, _, errs = ringo(t, "data", "prepare", "-c", write(t, dir, "mlp.yaml", mlp), "--out", tokens)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "only texts can be prepared")
}

// A run that stops early offers the best model it had, not only the last.
func TestEarlyStopOffersTheBest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(dir, "run")
	cfg := write(t, dir, "m.yaml", mlp)
	code, text, errs := ringo(t, "train", "-c", cfg, "--out", out, "--set", "optim.lr=1e-30", "--set", "train.steps=200", "--set", "train.eval_every=2", "--set", "train.early_stop=2", "--set", "train.keep=1")
	require.Zero(t, code, errs)
	require.Contains(t, text, "early stop after 6 steps")
	best := filepath.Join(out, "checkpoints", "best")
	require.Contains(t, text, "best        "+best+": step 2, validation loss")
	code, text, errs = ringo(t, "eval", "--checkpoint", best, "--json")
	require.Zero(t, code, errs)
	require.Equal(t, 2.0, events(t, text)[0]["step"])
}

// A process stopped with SIGINT saves, says how to go on, and the resumed run ends with the same weights as
// one that was never stopped, also on another number of threads.
func TestTheCommandThatGoesOnIsTheOneThatWasGiven(t *testing.T) {
	t.Parallel()
	for _, checkpoint := range [][]string{{"--checkpoint", "old run"}, {"--checkpoint=old run"}, {"--resume"}} {
		e := env{args: append([]string{"launch", "-n2", "-c", "a b.yaml", "--join=h:1"}, checkpoint...)}
		require.Equal(t, "ringo launch -n2 -c 'a b.yaml' --join=h:1 --resume", e.resumed())
	}
}

func TestInterruptAndResume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := strings.Replace(mlp, "eval_every: 10, save_every: 10", "save_every: 1500", 1)
	cfg := write(t, dir, "m.yaml", strings.Replace(text, "steps: 20", "log_every: 1, steps: 4000", 1))
	process := func(args ...string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], append([]string{"train", "-c", cfg, "--json"}, args...)...)
		cmd.Env = append(os.Environ(), asRingo+"=1")
		return cmd
	}
	whole, err := process("--out", filepath.Join(dir, "whole"), "--threads", "1").Output()
	require.NoError(t, err)
	out := filepath.Join(dir, "stopped")
	cmd := process("--out", out, "--threads", "2")
	var got bytes.Buffer
	cmd.Stdout = &got
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		raw, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
		return err == nil && bytes.Count(raw, []byte("\n")) > 5
	}, 20*time.Second, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	err = cmd.Wait()
	list := events(t, got.String())
	last := list[len(list)-1]
	if err == nil {
		t.Skip("the run ended before the signal came")
	}
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.Equal(t, "interrupted", last["event"])
	require.Equal(t, fmt.Sprintf("ringo train -c %s --json --out %s --threads 2 --resume", cfg, out), last["resume"])
	resumed, err := process("--out", out, "--resume").Output()
	require.NoError(t, err)
	hash := func(raw []byte) any {
		list := events(t, string(raw))
		require.Equal(t, "done", list[len(list)-1]["event"])
		return list[len(list)-1]["model_sha256"]
	}
	require.Equal(t, hash(whole), hash(resumed))
}
