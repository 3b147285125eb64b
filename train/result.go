package train

import (
	"time"
)

// Result is how a run ended.
type Result struct {
	Step        int
	Score       Score
	Evaluated   bool
	ModelSHA256 string // of model.safetensors; empty where the run keeps no checkpoints
	Checkpoint  string
	Wall        time.Duration
	BestStep    int     // with train.early_stop: whose checkpoint is kept as the best; 0 without
	BestLoss    float64 // on the validation set, at that step
	Saved       bool    // by this process, of several workers
	Interrupted bool
	Left        bool   // as a worker that was asked to: the job goes on without it
	Reason      string // "finished", "early stop", "interrupted" or "left"
}

// Summary is a Result as a worker hands it to its launcher.
type Summary struct {
	Step        int
	Reason      string
	ValLoss     *float64 `json:",omitempty"`
	Accuracy    *float64 `json:",omitempty"`
	ModelSHA256 string   `json:",omitempty"`
	Checkpoint  string   `json:",omitempty"`
	WallS       float64
	Interrupted bool `json:",omitempty"`
}

// Summary leaves out what JSON cannot hold.
func (r Result) Summary() Summary {
	s := Summary{Step: r.Step, Reason: r.Reason, ModelSHA256: r.ModelSHA256, Checkpoint: r.Checkpoint, WallS: r.Wall.Seconds(), Interrupted: r.Interrupted}
	for _, n := range []struct {
		v  float64
		to **float64
	}{{r.Score.Loss, &s.ValLoss}, {r.Score.Accuracy, &s.Accuracy}} {
		if isFinite(n.v) && r.Evaluated {
			*n.to = &n.v
		}
	}
	return s
}
