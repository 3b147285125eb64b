package quant

import (
	"errors"
	"fmt"
	"math"
	"time"

	"ringo/data"
	"ringo/export"
	"ringo/models"
	"ringo/runtime/backend"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// Score is what a model achieves on a validation set, and how fast.
type Score struct {
	Loss       float64       `json:"loss"`                 // nats
	Accuracy   float64       `json:"accuracy,omitempty"`   // part of right answers; of classifiers
	Perplexity float64       `json:"perplexity,omitempty"` // e^loss; of language models
	Samples    int           `json:"samples"`
	Latency    time.Duration `json:"latency_ns"` // of one batch, the shortest of the run
	Batch      int           `json:"batch"`

	parts []float64 // of each batch: the sum of losses or of right answers, whatever the model is judged by
	sizes []int     // samples in each
}

// Evaluate scores an inference form with its logits' cross-entropy, over limit batches spread evenly, or all where
// limit is 0.
func Evaluate(b backend.Backend, inf *export.Inference, ds data.Dataset, rows, limit int, progress func(done, total int)) (Score, error) {
	return evaluate(inf, ds, rows, limit, progress, func(g *graph.Graph) (*program, error) { return compile(b, g, inf.Weights) })
}

func evaluate(inf *export.Inference, ds data.Dataset, rows, limit int, progress func(done, total int), compile func(*graph.Graph) (*program, error)) (s Score, err error) {
	language := inf.MaxSeq > 0
	rows = min(rows, ds.Len())
	batches, err := data.NewBatches(ds, rows)
	if err != nil {
		return s, err
	}
	names := fieldNames(batches)
	g, err := inf.Build(rows, inf.MaxSeq)
	if err != nil {
		return s, err
	}
	if err := score(g, names[len(names)-1], language); err != nil {
		return s, err
	}
	p, err := compile(g)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	n, take := batches.Len(), batches.Len()
	if limit > 0 {
		take = min(limit, n)
	}
	s.Latency, s.Batch = math.MaxInt64, rows
	var loss, correct float64
	for i := range take {
		fields, valid, err := batches.Read(i * n / take)
		if err != nil {
			return s, err
		}
		if err := p.feed(names, fields); err != nil {
			return s, err
		}
		start := time.Now()
		if err := p.run(); err != nil {
			return s, err
		}
		s.Latency = min(s.Latency, time.Since(start))
		s.Samples += valid
		mean, err := p.scalar(models.Loss)
		if err != nil {
			return s, err
		}
		part := mean * float64(valid)
		loss += part
		if !language {
			hits, err := p.scalar(models.Correct)
			if err != nil {
				return s, err
			}
			correct += hits
			part = hits
		}
		s.parts, s.sizes = append(s.parts, part), append(s.sizes, valid)
		if progress != nil {
			progress(i+1, take)
		}
	}
	s.Loss = loss / float64(s.Samples)
	if language {
		s.Perplexity = math.Exp(s.Loss)
	} else {
		s.Accuracy = correct / float64(s.Samples)
	}
	if math.IsNaN(s.Loss) || math.IsInf(s.Loss, 0) {
		return s, fmt.Errorf("int8: the validation loss is %v: the model is broken; export an earlier checkpoint", s.Loss)
	}
	return s, nil
}

// difference returns how far the mean of what two models are judged by, on the same batches, is apart, and the standard
// error of that: with d[i] the mean difference in batch i of n, √(Σ(d[i] − d̄)²/(n−1)/n), weighed by samples.
func (s Score) difference(t Score) (mean, deviation float64) {
	n := float64(len(s.parts))
	for i := range s.parts {
		mean += (s.parts[i] - t.parts[i]) / float64(s.Samples)
	}
	for i := range s.parts {
		d := (s.parts[i]-t.parts[i])/float64(s.sizes[i]) - mean
		deviation += d * d * float64(s.sizes[i]) / float64(s.Samples)
	}
	return mean, math.Sqrt(deviation / max(1, n-1))
}

func (p *program) scalar(name string) (float64, error) {
	t, err := p.fetch(name)
	if err != nil {
		return 0, err
	}
	return t.Float64s()[0], nil
}

// score adds to a graph with logits the targets, the mean loss and, of a classifier, the number of right answers.
func score(g *graph.Graph, target string, language bool) (err error) {
	defer func() {
		if e, ok := recover().(*graph.Error); ok {
			err = e
		} else if e != nil {
			panic(e)
		}
	}()
	logits := g.Find(models.Logits)
	if logits == nil {
		return fmt.Errorf("int8: the graph has no output %q", models.Logits)
	}
	shape := logits.Shape[:len(logits.Shape)-1]
	targets := g.Input(target, tensor.I32, shape...)
	g.Outputs = nil
	g.Output(models.Loss, g.CrossEntropy(logits, targets, graph.CrossEntropy{Ignore: data.IgnoreLabel, HasIgnore: true}))
	if !language {
		hit := g.Compare("eq", g.Cast(g.ArgMax(logits, -1), tensor.I32), targets)
		g.Output(models.Correct, g.Sum(g.Cast(hit, tensor.F32), false))
	}
	return graph.Verify(g)
}
