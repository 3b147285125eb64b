package train

import (
	"fmt"

	"ringo/models"
	"ringo/train/config"
)

// Saved is a model as a checkpoint has it, its weights still in the file.
type Saved struct {
	State   *State
	Model   *models.Model
	Dir     string // of the checkpoint
	Weights string // path of model.safetensors
	SHA256  string // of that file
}

// OpenSaved verifies a checkpoint (or the newest of a run's folder) and reads all of it but the weights.
func OpenSaved(path string) (*Saved, error) {
	c, s, err := openState(path, modelFile, stateFile)
	if err != nil {
		return nil, err
	}
	m, err := models.New(s.Model)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", c.Dir, err)
	}
	cfg, err := config.Parse(c.Path(stateFile), []byte(s.Config), nil, nil)
	if err != nil {
		return nil, err
	}
	m.QAT = cfg.Train.QAT
	return &Saved{State: s, Model: m, Dir: c.Dir, Weights: c.Path(modelFile), SHA256: c.Files[modelFile].SHA256}, nil
}
