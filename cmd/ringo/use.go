package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"ringo/data"
	"ringo/export/quant"
	"ringo/train"
	"ringo/train/config"
	"ringo/train/metrics"
)

type evalCmd struct {
	Checkpoint string   `required:"" placeholder:"DIR" help:"A checkpoint, or a run's folder."`
	Set        []string `sep:"none" placeholder:"data.k=v" help:"Override a key of the run's configuration, such as data.test."`
	Batches    int      `placeholder:"N" help:"Batches to score; 0 is the whole validation set."`
	JSON       bool     `name:"json" help:"Print a JSON object."`
	deviceFlags
}

// evalRows is the batch of an evaluation: enough to keep the matrix products busy.
const evalRows = 16

func (c *evalCmd) Run(e *env) (err error) {
	if err := errors.Join(c.check(), natural("--batches", c.Batches)); err != nil {
		return err
	}
	if quant.Is(c.Checkpoint) {
		return c.evalInt8(e)
	}
	u, err := train.Open(c.Checkpoint, c.Device, c.Threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	cfg, err := config.Parse("the checkpoint's configuration", []byte(u.State.Config), nil, c.Set)
	if err != nil {
		return err
	}
	learn, valid, err := cfg.OpenData()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close(learn), data.Close(valid)) }()
	s, err := u.Evaluate(valid, evalRows, c.Batches)
	if err != nil {
		return err
	}
	return c.print(e, u.Model.Name, strconv.Itoa(u.State.Step), u.SHA256, quant.Score{Loss: s.Loss, Accuracy: s.Accuracy, Perplexity: s.Perplexity, Samples: s.Samples})
}

// print says what an evaluation found; accuracy or perplexity is 0 or NaN where the model has none.
func (c *evalCmd) print(e *env, model, step, sha256 string, s quant.Score) error {
	if c.JSON {
		out := map[string]any{"event": "eval", "step": json.Number(step), "val_loss": s.Loss, "samples": s.Samples, "model_sha256": sha256}
		for key, v := range map[string]float64{"accuracy": s.Accuracy, "perplexity": s.Perplexity} {
			if v > 0 {
				out[key] = v
			}
		}
		return json.NewEncoder(e.out).Encode(out)
	}
	fmt.Fprintf(e.out, "%s, step %s: validation loss %.4f", model, step, s.Loss)
	if s.Accuracy > 0 {
		fmt.Fprintf(e.out, ", accuracy %.2f %%", 100*s.Accuracy)
	}
	if s.Perplexity > 0 {
		fmt.Fprintf(e.out, ", perplexity %.3f", s.Perplexity)
	}
	fmt.Fprintf(e.out, " on %s samples\n", metrics.Group(float64(s.Samples)))
	return nil
}

type generateCmd struct {
	Checkpoint  string  `required:"" placeholder:"DIR" help:"A checkpoint, or a run's folder."`
	Prompt      string  `placeholder:"TEXT" help:"What to continue; empty lets the model begin."`
	Tokens      int     `default:"300" help:"How many tokens to write."`
	Temperature float64 `default:"0.8" help:"Divides the logits; 0 takes the likeliest token always."`
	TopK        int     `default:"200" help:"Draw from the so many likeliest tokens only; 0 is all."`
	TopP        float64 `default:"1" help:"Draw from the likeliest tokens that have this probability together."`
	Seed        uint64  `default:"1337" help:"Equal seeds write equal text."`
	deviceFlags
}

func (c *generateCmd) Run(e *env) (err error) {
	how := train.Sampling{Temperature: c.Temperature, TopK: c.TopK, TopP: c.TopP, Seed: c.Seed}
	if err := how.Validate(); err != nil {
		return usage{fmt.Errorf("--%w", err)}
	}
	if err := errors.Join(c.check(), natural("--tokens", c.Tokens)); err != nil {
		return err
	}
	emit := func(text string) error {
		if e.ctx.Err() != nil {
			return interrupted{}
		}
		_, err := fmt.Fprint(e.out, text)
		return err
	}
	if quant.Is(c.Checkpoint) {
		if err := emit(c.Prompt); err != nil {
			return err
		}
		err := c.generateInt8(e, how, emit)
		fmt.Fprintln(e.out)
		return err
	}
	u, err := train.Open(c.Checkpoint, c.Device, c.Threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	if err := emit(c.Prompt); err != nil {
		return err
	}
	err = u.Generate(c.Prompt, c.Tokens, how, emit)
	fmt.Fprintln(e.out)
	return err
}

func natural(flag string, n int) error {
	if n < 0 {
		return usage{fmt.Errorf("%s %d: expected 0 or more", flag, n)}
	}
	return nil
}
