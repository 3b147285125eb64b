package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"ringo/data"
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
	u, err := train.Open(c.Checkpoint, c.Device, c.Threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	cfg, err := config.Parse("the checkpoint's configuration", []byte(u.State.Config), nil, c.Set)
	if err != nil {
		return err
	}
	learn, valid, err := data.Open(cfg.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close(learn), data.Close(valid)) }()
	s, err := u.Evaluate(valid, evalRows, c.Batches)
	if err != nil {
		return err
	}
	if c.JSON {
		out := map[string]any{"event": "eval", "step": u.State.Step, "val_loss": s.Loss, "samples": s.Samples, "model_sha256": u.SHA256}
		for key, v := range map[string]float64{"accuracy": s.Accuracy, "perplexity": s.Perplexity} {
			if !math.IsNaN(v) {
				out[key] = v
			}
		}
		return json.NewEncoder(e.out).Encode(out)
	}
	fmt.Fprintf(e.out, "%s, step %d: validation loss %.4f", u.Model.Name, u.State.Step, s.Loss)
	if !math.IsNaN(s.Accuracy) {
		fmt.Fprintf(e.out, ", accuracy %.2f %%", 100*s.Accuracy)
	}
	if !math.IsNaN(s.Perplexity) {
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
	u, err := train.Open(c.Checkpoint, c.Device, c.Threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, u.Close()) }()
	if _, err := fmt.Fprint(e.out, c.Prompt); err != nil {
		return err
	}
	err = u.Generate(c.Prompt, c.Tokens, how, func(text string) error {
		if e.ctx.Err() != nil {
			return interrupted{}
		}
		_, err := fmt.Fprint(e.out, text)
		return err
	})
	fmt.Fprintln(e.out)
	return err
}

func natural(flag string, n int) error {
	if n < 0 {
		return usage{fmt.Errorf("%s %d: expected 0 or more", flag, n)}
	}
	return nil
}
