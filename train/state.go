package train

import (
	"encoding/json"
	"fmt"
	"os"

	"ringo/data"
	"ringo/models"
	"ringo/train/checkpoint"
	"ringo/train/config"
)

// The files of a checkpoint, beside its manifest.
const (
	modelFile     = "model.safetensors"
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
)

const stateFormat = 1

// State is state.json: all that a run needs beside its tensors to go on bit for bit, and all that a model
// needs to be used without the run's folder. Random numbers and sample order are functions of seed and
// step, so no generator's state is kept.
type State struct {
	Format     int                 `json:"format"`
	Step       int                 `json:"step"`
	Seed       uint64              `json:"seed"`
	BestLoss   *float64            `json:"best_val_loss,omitempty"`
	BestStep   int                 `json:"best_step,omitempty"` // that had it
	BadEvals   int                 `json:"evals_without_improvement,omitempty"`
	LastLoss   *float64            `json:"val_loss,omitempty"`
	WallS      float64             `json:"wall_s"` // training time so far
	Config     string              `json:"config"` // the resolved configuration, as YAML
	Model      models.Config       `json:"model"`  // complete: with what the data set said
	DataSHA256 string              `json:"data_sha256,omitempty"`
	Tokenizer  *data.TokenizerSpec `json:"tokenizer,omitempty"`
	Labels     []string            `json:"labels,omitempty"`
	Image      *data.ImageSpec     `json:"image,omitempty"`
	Table      *data.Schema        `json:"table,omitempty"`
}

func newState(cfg *config.Config, t *Trainer) State {
	info := t.train.Info()
	s := State{Format: stateFormat, Seed: cfg.Train.Seed, Model: t.Model.Config, DataSHA256: info.Hash,
		Labels: info.Labels, Image: info.Image, Table: info.Table}
	if info.Tokenizer != nil {
		spec := info.Tokenizer.Spec()
		s.Tokenizer = &spec
	}
	return s
}

// openState verifies a checkpoint and reads its state.json.
// Where files are named, only these are hashed beside it.
func openState(path string, files ...string) (*checkpoint.Checkpoint, *State, error) {
	c, err := checkpoint.Open(path, files...)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range []string{modelFile, optimizerFile, stateFile} {
		if _, ok := c.Files[name]; !ok {
			return nil, nil, fmt.Errorf("checkpoint %s: its manifest lacks %s", c.Dir, name)
		}
	}
	raw, err := os.ReadFile(c.Path(stateFile))
	if err != nil {
		return nil, nil, err
	}
	s := &State{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, nil, fmt.Errorf("checkpoint %s: %s: %w", c.Dir, stateFile, err)
	}
	if s.Format != stateFormat || s.Step != c.Step {
		return nil, nil, fmt.Errorf("checkpoint %s: %s has format %d and step %d, expected %d and %d", c.Dir, stateFile, s.Format, s.Step, stateFormat, c.Step)
	}
	return c, s, nil
}
