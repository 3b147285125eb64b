package metrics

import (
	"encoding/json"
	"fmt"
	"math"
)

// maxLine bounds an event that is read back, in bytes: samples of text are the longest.
const maxLine = 1 << 20

// wire is the union of all events' keys; a number that is null or missing is nil.
type wire struct {
	Event        string   `json:"event"`
	Step         int      `json:"step"`
	Steps        int      `json:"steps"`
	Loss         *float64 `json:"loss"`
	LR           *float64 `json:"lr"`
	GradNorm     *float64 `json:"grad_norm"`
	StepMS       *float64 `json:"step_ms"`
	Tokens       *float64 `json:"tokens_per_s"`
	Samples      *float64 `json:"samples_per_s"`
	ValLoss      *float64 `json:"val_loss"`
	Accuracy     *float64 `json:"accuracy"`
	Perplexity   *float64 `json:"perplexity"`
	Best         bool     `json:"best"`
	BestStep     int      `json:"best_step"`
	BestLoss     float64  `json:"best_val_loss"`
	Epoch        int      `json:"epoch"`
	Workers      int      `json:"workers"`
	Reason       string   `json:"reason"`
	RecoveryMS   *float64 `json:"recovery_ms"`
	Path         string   `json:"path"`
	Model        string   `json:"model"`
	Params       int      `json:"params"`
	Device       string   `json:"device"`
	Precision    string   `json:"precision"`
	Data         string   `json:"data"`
	Text         string   `json:"text"`
	ModelSHA256  string   `json:"model_sha256"`
	WallS        *float64 `json:"wall_s"`
	PeakRSSBytes int64    `json:"peak_rss_bytes"`
	GPUBusy      *float64 `json:"gpu_busy"`
	GPUMemory    int64    `json:"gpu_memory_bytes"`
	GPUPower     *float64 `json:"gpu_power_w"`
	GPUCelsius   *float64 `json:"gpu_temperature_c"`
}

func number(p *float64) float64 {
	if p == nil {
		return math.NaN()
	}
	return *p
}

// Decode reads the JSON of one event, as a worker hands it to its launcher. What AppendJSON makes of the result is the
// same line again.
func Decode(line []byte) (Event, error) {
	var w wire
	if len(line) > maxLine {
		return nil, fmt.Errorf("metrics: an event of %d bytes, at most %d are allowed", len(line), maxLine)
	}
	if err := json.Unmarshal(line, &w); err != nil {
		return nil, fmt.Errorf("metrics: an event that cannot be read: %w", err)
	}
	switch w.Event {
	case "step":
		e := &Step{Step: w.Step, Loss: number(w.Loss), LR: number(w.LR), GradNorm: number(w.GradNorm), StepMS: number(w.StepMS), Rate: number(w.Samples), Unit: "samples"}
		if w.Tokens != nil {
			e.Rate, e.Unit = *w.Tokens, "tokens"
		}
		if w.GPUBusy != nil || w.GPUMemory != 0 || w.GPUPower != nil || w.GPUCelsius != nil {
			e.GPU = &GPU{number(w.GPUBusy), w.GPUMemory, number(w.GPUPower), number(w.GPUCelsius)}
		}
		return e, nil
	case "eval":
		return &Eval{w.Step, number(w.ValLoss), number(w.Accuracy), number(w.Perplexity), w.Best}, nil
	case "view":
		return &View{w.Epoch, w.Workers, w.Reason, w.Step, number(w.RecoveryMS)}, nil
	case "checkpoint":
		return &Checkpoint{w.Step, w.Path}, nil
	case "start":
		return &Start{w.Step, w.Steps, w.Model, w.Params, w.Device, w.Precision, w.Data}, nil
	case "sample":
		return &Sample{w.Step, w.Text}, nil
	case "done":
		return &Done{w.Step, number(w.ValLoss), number(w.Accuracy), w.ModelSHA256, number(w.WallS), w.PeakRSSBytes, w.Reason, w.BestStep, w.BestLoss}, nil
	}
	return nil, fmt.Errorf("metrics: unknown event %.40q", w.Event)
}
