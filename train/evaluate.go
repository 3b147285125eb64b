package train

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"ringo/data"
	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// Score is the result of an evaluation.
type Score struct {
	Loss       float64 // mean over all samples, nats
	Accuracy   float64 // part of right answers; NaN for a language model
	Perplexity float64 // e^loss; NaN for a classifier
	Samples    int
}

// evaluator runs the model over a validation set in a fixed order, with no dropout and with the running
// statistics of batch norm.
type evaluator struct {
	model   *models.Model
	batches *data.Batches
	names   []string
	exec    backend.Executable
	store   backend.Store // of the program; the trainer's own, or a copy that holds averages
	copied  bool
	raw     [4]byte
}

// newEvaluator plans the evaluation of rows samples at a time on a store.
func newEvaluator(b backend.Backend, s backend.Store, m *models.Model, ds data.Dataset, rows int, opt plan.Options) (*evaluator, error) {
	e := &evaluator{model: m, store: s}
	var err error
	if e.batches, err = data.NewBatches(ds, min(rows, ds.Len())); err != nil {
		return nil, err
	}
	rows = min(rows, ds.Len())
	for _, f := range e.batches.Fields() {
		e.names = append(e.names, f.Name)
	}
	opt.Training = nil
	e.exec, err = compile(b, s, func(g *graph.Graph) error { return m.Loss(g, rows, false) }, opt)
	return e, err
}

// tally is what one batch adds to a score.
type tally struct {
	loss, correct float64 // sums over the samples
	samples       float64
}

// batch evaluates batch number i of the set.
func (e *evaluator) batch(i int) (tally, error) {
	fields, valid, err := e.batches.Read(i)
	if err != nil {
		return tally{}, err
	}
	for k, raw := range fields {
		if err := e.exec.Feed(e.names[k], raw); err != nil {
			return tally{}, err
		}
	}
	if err := e.exec.Run(0, len(e.exec.Program().Instrs)); err != nil {
		return tally{}, err
	}
	mean, err := e.scalar(models.Loss)
	if err != nil {
		return tally{}, err
	}
	t := tally{loss: mean * float64(valid), samples: float64(valid)}
	if !e.model.Language() {
		t.correct, err = e.scalar(models.Correct)
	}
	return t, err
}

// run evaluates limit batches spread evenly over the set, or all where limit is 0. The same batches are taken every time,
// so that scores compare. The workers of a group share them; the sum is taken in the order of the batches, so it has the
// same bits at any number of workers.
func (e *evaluator) run(limit int, g Group) (Score, error) {
	n := e.batches.Len()
	take := n
	if limit > 0 && limit < n {
		take = limit
	}
	rank, size := 0, 1
	if g != nil {
		rank, size = g.Rank(), g.Size()
	}
	var mine []tally
	for i := rank; i < take; i += size {
		t, err := e.batch(i * n / take)
		if err != nil {
			return Score{}, err
		}
		mine = append(mine, t)
	}
	all := [][]tally{mine}
	if g != nil {
		var err error
		if all, err = gatherTallies(g, mine, (take+size-1)/size); err != nil {
			return Score{}, err
		}
	}
	for r, ts := range all {
		if want := (take - r + size - 1) / size; len(ts) != want {
			return Score{}, lost{fmt.Errorf("rank %d evaluated %d batches, expected %d: every worker needs the same data", r, len(ts), want)}
		}
	}
	var sum tally
	for i := range take {
		t := all[i%size][i/size]
		sum.loss += t.loss
		sum.correct += t.correct
		sum.samples += t.samples
	}
	return e.score(sum), nil
}

func (e *evaluator) score(sum tally) Score {
	s := Score{Loss: sum.loss / sum.samples, Accuracy: math.NaN(), Perplexity: math.NaN(), Samples: int(sum.samples)}
	if e.model.Language() {
		s.Perplexity = math.Exp(s.Loss)
	} else {
		s.Accuracy = sum.correct / sum.samples
	}
	return s
}

// gatherTallies exchanges the tallies of all workers, at most `most` each.
func gatherTallies(g Group, mine []tally, most int) ([][]tally, error) {
	const bytes = 24
	const round = 1 << 15 // tallies per message: Gather takes up to a megabyte
	all := make([][]tally, g.Size())
	for from := 0; from < most; from += round {
		var raw []byte
		for _, t := range mine[min(from, len(mine)):min(from+round, len(mine))] {
			for _, x := range []float64{t.loss, t.correct, t.samples} {
				raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(x))
			}
		}
		got, err := g.Gather(raw)
		if err != nil {
			return nil, lost{err}
		}
		for r, raw := range got {
			for ; len(raw) >= bytes; raw = raw[bytes:] {
				at := func(i int) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])) }
				all[r] = append(all[r], tally{at(0), at(1), at(2)})
			}
		}
	}
	return all, nil
}

func (e *evaluator) scalar(name string) (float64, error) {
	err := e.exec.Fetch(name, e.raw[:])
	return float64(tensor.View[float32](e.raw[:])[0]), err
}

// Close frees the program, and the store where it is a copy.
func (e *evaluator) Close() error {
	var err error
	if e.exec != nil {
		err = e.exec.Close()
	}
	if e.copied {
		err = errors.Join(err, e.store.Close())
	}
	return err
}

// planEvaluation plans the evaluation. A run does so before its first step: a device whose memory is too small for both says so
// then, and not hours later.
func (t *Trainer) planEvaluation() error {
	if t.eval != nil {
		return nil
	}
	store := t.store
	if t.averaged() {
		store = t.device.NewStore()
	}
	rows := t.cfg.Train.Batch / t.cfg.Train.Lanes
	e, err := newEvaluator(t.device, store, t.Model, t.valid, rows, t.options())
	if err != nil {
		return fmt.Errorf("evaluation beside training, %d samples at a time: %w", rows, err)
	}
	e.copied = t.averaged()
	t.eval = e
	return nil
}

// Evaluate scores the model on the validation set; with train.ema, the averaged weights. limit is as
// train.eval_batches.
func (t *Trainer) Evaluate(limit int) (Score, error) {
	if err := t.planEvaluation(); err != nil {
		return Score{}, err
	}
	if t.eval.copied {
		if err := t.copyAverages(t.eval.store); err != nil {
			return Score{}, err
		}
	}
	if t.crew != nil && t.crew.Group != nil {
		return t.eval.run(limit, t.crew.Group)
	}
	return t.eval.run(limit, nil)
}

// averaged reports whether the run keeps moving averages of its weights, which are then what it is judged by.
func (t *Trainer) averaged() bool { return t.cfg.Train.EMA > 0 }

// copyAverages gives another store the averaged weights, and states as they are.
func (t *Trainer) copyAverages(to backend.Store) error {
	var scratch []byte
	for _, p := range t.prog.Tensors {
		var from string
		switch p.Kind {
		case "param":
			from = emaPrefix + p.Name
		case "state":
			from = p.Name
		default:
			continue
		}
		raw, err := readTensor(t.store, from, p.Type.Bytes(), scratch)
		if err != nil {
			return err
		}
		if err := to.Write(p.Name, raw); err != nil {
			return err
		}
	}
	return nil
}
