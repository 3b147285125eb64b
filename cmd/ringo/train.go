package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ringo/train"
	"ringo/train/checkpoint"
	"ringo/train/config"
	"ringo/train/metrics"
)

type trainCmd struct {
	Config     string   `short:"c" required:"" placeholder:"FILE" help:"The run's configuration."`
	Set        []string `sep:"none" placeholder:"a.b=v" help:"Override a key of the configuration; may be repeated."`
	Out        string   `placeholder:"DIR" help:"The run's folder; by default runs/NAME, after the configuration's file."`
	Resume     bool     `help:"Go on from the newest checkpoint of the run's folder."`
	Checkpoint string   `placeholder:"DIR" help:"Go on from this checkpoint."`
	JSON       bool     `name:"json" help:"Print one JSON object per event."`
	Explain    bool     `help:"Print the plan of a training step and stop."`
	deviceFlags
}

// sampling of the text that a finished run shows: nanoGPT's defaults.
var sampling = train.Sampling{Temperature: 0.8, TopK: 200}

func (c *trainCmd) Run(e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	cfg, err := config.Load(c.Config, e.environ, c.Set)
	if err != nil {
		return usage{err}
	}
	if c.Out == "" {
		c.Out = defaultOut(c.Config)
	}
	log := metrics.NewLog()
	o := train.Options{Out: c.Out, Device: c.Device, Threads: c.Threads, Log: log}
	if c.Explain {
		o.Out = ""
	}
	t, err := train.New(cfg, o)
	if err != nil {
		return err
	}
	if c.Explain {
		t.Explain(e.out)
		return t.Close()
	}
	err = c.run(e, t, cfg, log)
	return errors.Join(err, t.Close())
}

func (c *trainCmd) run(e *env, t *train.Trainer, cfg *config.Config, log *metrics.Log) (err error) {
	if err := c.resume(e, t); err != nil {
		return err
	}
	if err := c.folder(e, t); err != nil {
		return err
	}
	closed := false
	finish := func() error {
		if closed {
			return nil
		}
		closed = true
		return log.Close()
	}
	defer func() { err = errors.Join(err, finish()) }()
	if err := c.sinks(e, t, log); err != nil {
		return err
	}
	r, err := t.Run(e.ctx)
	if err != nil {
		return err
	}
	if r.Interrupted {
		err := errors.Join(finish(), c.say(e, t, r))
		return errors.Join(err, interrupted{})
	}
	text, err := closing(t, cfg, log, r)
	if err != nil {
		return err
	}
	if err := finish(); err != nil { // the plot is drawn here
		return err
	}
	if c.JSON {
		return nil
	}
	return summary(e, c.Out, r, r.Wall.Seconds(), train.PeakRSS(), text)
}

// closing emits a finished run's last events: text, where this process saved the model and the model can write, and the end.
func closing(t *train.Trainer, cfg *config.Config, log *metrics.Log, r train.Result) (text string, err error) {
	if r.Saved {
		if text, err = sampleText(t, cfg); err != nil {
			return "", err
		}
	}
	if text != "" {
		if err := log.Emit(&metrics.Sample{Step: r.Step, Text: text}); err != nil {
			return "", err
		}
	}
	return text, t.Done(r)
}

// resume loads a checkpoint where one is asked for.
func (c *trainCmd) resume(e *env, t *train.Trainer) error {
	from := c.Checkpoint
	if from == "" && c.Resume {
		from = c.Out
	}
	if from == "" {
		return nil
	}
	notes, err := t.Resume(from)
	if errors.Is(err, os.ErrNotExist) {
		return usage{fmt.Errorf("nothing to resume: %w; leave --resume out to start anew", err)}
	}
	for _, n := range notes {
		fmt.Fprintln(e.err, "ringo: note:", n)
	}
	return err
}

// folder makes the run's folder. A new run does not mix with an old one: the old
// folder is moved aside.
func (c *trainCmd) folder(e *env, t *train.Trainer) error {
	if err := writable(c.Out); err != nil {
		return err
	}
	if done, _ := t.Steps(); done == 0 && !c.Resume && c.Checkpoint == "" {
		if err := moveAside(e, c.Out); err != nil {
			return err
		}
	}
	return os.MkdirAll(c.Out, 0o777)
}

// sinks opens what events go to: metrics.jsonl, TensorBoard, the plot, and the screen.
func (c *trainCmd) sinks(e *env, t *train.Trainer, log *metrics.Log) error {
	done, all := t.Steps()
	if err := addFiles(log, c.Out, done, all); err != nil {
		return err
	}
	addScreen(e, log, c.JSON)
	return nil
}

// sampleText lets a text model write; "" where it cannot or is not asked to.
func sampleText(t *train.Trainer, cfg *config.Config) (string, error) {
	if cfg.Train.Sample == 0 || !t.Writes() {
		return "", nil
	}
	how := sampling
	how.Seed = cfg.Train.Seed
	var b strings.Builder
	err := t.Sample(cfg.Train.Sample, how, func(s string) error { b.WriteString(s); return nil })
	return b.String(), err
}

// say tells how to go on with an interrupted run.
func (c *trainCmd) say(e *env, t *train.Trainer, r train.Result) error {
	how := e.resumed()
	if c.JSON {
		return json.NewEncoder(e.out).Encode(map[string]any{"event": "interrupted", "step": r.Step, "checkpoint": r.Checkpoint, "resume": how})
	}
	_, all := t.Steps()
	_, err := fmt.Fprintf(e.out, "interrupted after step %d of %d; go on with\n  %s\n", r.Step, all, how)
	return err
}

// resumed is the command as it was given, but going on from the run's newest checkpoint.
func (e *env) resumed() string {
	how := []string{"ringo"}
	for i := 0; i < len(e.args); i++ {
		switch a := e.args[i]; {
		case a == "--checkpoint":
			i++ // and the folder behind it
		case a == "--resume" || strings.HasPrefix(a, "--checkpoint="):
		default:
			how = append(how, quote(a))
		}
	}
	return strings.Join(append(how, "--resume"), " ")
}

// quote protects an argument from a POSIX shell where it needs it.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// summary closes a run for people. rss is the most memory that a process took, in bytes.
func summary(e *env, out string, r train.Result, seconds float64, rss int64, text string) error {
	w := e.out
	if text != "" {
		fmt.Fprintf(w, "\n%s\n%s\n%s\n\n", rule("what the model writes"), strings.TrimRight(text, "\n"), rule(""))
	}
	fmt.Fprintf(w, "%s after %d steps in %.1f s: validation loss %.4f", r.Reason, r.Step, seconds, r.Score.Loss)
	if r.Score.Accuracy == r.Score.Accuracy { // not NaN
		fmt.Fprintf(w, ", accuracy %.2f %%", 100*r.Score.Accuracy)
	}
	fmt.Fprintf(w, "; peak memory %s MB\n", metrics.Group(float64(rss)/1e6))
	fmt.Fprintf(w, "run         %s\nplot        %s\ncheckpoint  %s\n", out, filepath.Join(out, "loss.png"), r.Checkpoint)
	if r.BestStep > 0 && r.BestStep != r.Step {
		fmt.Fprintf(w, "best        %s: step %d, validation loss %.4f\n", filepath.Join(out, "checkpoints", checkpoint.BestName), r.BestStep, r.BestLoss)
	}
	if text != "" {
		fmt.Fprintf(w, "more text   ringo generate --checkpoint %s --prompt TEXT\n", quote(out))
	}
	return nil
}

func rule(title string) string {
	const width = 72
	if title != "" {
		title = "── " + title + " "
	}
	return title + strings.Repeat("─", width-len([]rune(title)))
}
