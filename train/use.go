package train

import (
	"errors"
	"fmt"
	"strings"

	"ringo/data"
	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/train/config"
)

// Trained is a model from a checkpoint, ready to be used. It is not safe for concurrent use.
type Trained struct {
	State  *State
	Config *config.Config
	Model  *models.Model
	Dir    string // of the checkpoint
	SHA256 string // of model.safetensors
	device backend.Backend
	store  backend.Store
	opt    plan.Options
}

// Open verifies a checkpoint (or the newest of a run's folder) and loads its model onto a device.
func Open(path, device string, threads int) (_ *Trained, err error) {
	c, s, err := openState(path, modelFile, stateFile)
	if err != nil {
		return nil, err
	}
	u := &Trained{State: s, Dir: c.Dir, SHA256: c.Files[modelFile].SHA256}
	if u.Config, err = config.Parse(c.Path(stateFile), []byte(s.Config), nil, nil); err != nil {
		return nil, err
	}
	if u.Model, err = models.New(s.Model); err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", c.Dir, err)
	}
	u.Model.QAT = u.Config.Train.QAT
	if u.device, err = backend.Open(device, backend.Options{Threads: threads}); err != nil {
		return nil, err
	}
	u.store = u.device.NewStore()
	u.opt = plan.Options{Precision: precision(u.Config.Train.Precision)}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.Close())
		}
	}()
	// A program of one sample brings the weights into the store, where the file's contents then go.
	exec, err := compile(u.device, u.store, func(g *graph.Graph) error { return u.Model.Loss(g, 1, false) }, u.opt)
	if err != nil {
		return nil, err
	}
	w := weightsOf(u.store, u.Model, exec.Program().Graph, false)
	return u, errors.Join(w.load(c.Path(modelFile)), exec.Close())
}

// Evaluate scores the model on a validation set; limit is as train.eval_batches.
func (u *Trained) Evaluate(ds data.Dataset, rows, limit int) (Score, error) {
	if err := checkInputs(u.Model, ds.Fields()); err != nil {
		return Score{}, err
	}
	e, err := newEvaluator(u.device, u.store, u.Model, ds, rows, u.opt)
	if err != nil {
		return Score{}, err
	}
	s, err := e.run(limit, nil)
	return s, errors.Join(err, e.Close())
}

// Generate continues prompt by n tokens and hands the text to emit piece by piece.
func (u *Trained) Generate(prompt string, n int, how Sampling, emit func(text string) error) error {
	if u.State.Tokenizer == nil {
		return fmt.Errorf("checkpoint %s: model %s has no tokenizer, so it writes no text", u.Dir, u.Model.Name)
	}
	tok, err := data.OpenTokenizer(*u.State.Tokenizer)
	if err != nil {
		return err
	}
	return write(u.device, u.store, u.Model, u.opt, tok, prompt, n, how, emit)
}

// Sample writes text with the model as it stands; with train.ema, with the averaged weights.
func (t *Trainer) Sample(n int, how Sampling, emit func(text string) error) error {
	tok := t.train.Info().Tokenizer
	if tok == nil || !t.Model.Language() {
		return fmt.Errorf("model %s: no tokenizer, so it writes no text", t.Model.Name)
	}
	store := t.store
	if t.averaged() && t.eval != nil {
		store = t.eval.store // holds the averages of the last evaluation
	}
	return write(t.device, store, t.Model, plan.Options{Precision: precision(t.cfg.Train.Precision)}, tok, "", n, how, emit)
}

func write(b backend.Backend, s backend.Store, m *models.Model, opt plan.Options, tok data.Tokenizer, prompt string, n int, how Sampling, emit func(string) error) error {
	g, err := NewGenerator(b, s, m, opt)
	if err != nil {
		return err
	}
	return errors.Join(g.Write(tok, prompt, n, how, emit), g.Close())
}

// Write continues a prompt by n tokens and hands the text to emit piece by piece; see Generate.
func (g *Generator) Write(tok data.Tokenizer, prompt string, n int, how Sampling, emit func(text string) error) error {
	ids, err := promptIDs(tok, prompt)
	if err != nil {
		return err
	}
	d := data.Decoder{Tokenizer: tok}
	stop := int32(-1)
	if marks, ok := tok.(data.Marker); ok {
		stop = marks.EOS()
		if marks.BOS() != stop {
			for _, id := range ids { // the decoder sees the prompt, so that spacing after it is right
				d.Add(id)
			}
		}
	}
	var failed error
	err = g.Generate(ids, n, how, func(id int32) bool {
		if id == stop {
			return false
		}
		if text := d.Add(id); text != "" {
			failed = emit(text)
		}
		return failed == nil
	})
	if tail := d.Flush(); tail != "" && err == nil && failed == nil {
		failed = emit(strings.ToValidUTF8(tail, "\uFFFD"))
	}
	return errors.Join(err, failed)
}

// promptIDs encodes a prompt. Without one the text starts at the tokenizer's mark, or after a line end as
// nanoGPT's samples do, or with the first id.
func promptIDs(tok data.Tokenizer, prompt string) ([]int32, error) {
	marks, marked := tok.(data.Marker)
	if prompt == "" {
		if marked {
			return []int32{marks.BOS()}, nil
		}
		if ids, err := tok.Encode("\n"); err == nil && len(ids) > 0 {
			return ids, nil
		}
		return []int32{0}, nil
	}
	ids, err := tok.Encode(prompt)
	if err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	if marked && marks.BOS() != marks.EOS() {
		ids = append([]int32{marks.BOS()}, ids...)
	}
	return ids, nil
}

// Close releases the device.
func (u *Trained) Close() error { return errors.Join(u.store.Close(), u.device.Close()) }
