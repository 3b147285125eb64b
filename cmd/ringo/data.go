package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"ringo/data"
	"ringo/data/fetch"
	"ringo/runtime/tensor"
	"ringo/train/config"
	"ringo/train/metrics"
)

type dataCmd struct {
	Fetch   fetchCmd   `cmd:"" help:"Download public data sets into the user's cache, verified by sha256."`
	Prepare prepareCmd `cmd:"" help:"Tokenize a text once: write token files that later runs open in no time."`
	Inspect inspectCmd `cmd:"" help:"Show what a configuration's data set holds."`
}

type fetchCmd struct {
	Names []string `arg:"" optional:"" help:"Data sets; none lists them."`
	Dir   string   `placeholder:"DIR" help:"Where to put them; by default the user's cache."`
}

func (c *fetchCmd) Run(e *env) error {
	if len(c.Names) == 0 {
		w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
		for _, set := range data.Catalog {
			var size int64
			for _, f := range set.Files {
				size += f.Size
			}
			fmt.Fprintf(w, "%s\t%.1f MB\t%s\n", set.Name, float64(size)/1e6, set.About)
		}
		return w.Flush()
	}
	for _, name := range c.Names {
		folder, err := fetch.Fetch(e.ctx, name, fetch.Config{Dir: c.Dir, Progress: func(p fetch.Progress) {
			if p.Done == p.Total {
				what := "fetched"
				if p.Cached {
					what = "is here already"
				}
				fmt.Fprintf(e.err, "%s/%s %s, %s bytes, hash verified\n", p.Name, p.File, what, metrics.Group(float64(p.Total)))
			}
		}})
		if err != nil {
			return err
		}
		fmt.Fprintln(e.out, folder)
	}
	return nil
}

type prepareCmd struct {
	Config string   `short:"c" required:"" placeholder:"FILE" help:"A run's configuration; its data section names the text and the tokenizer."`
	Set    []string `sep:"none" placeholder:"data.k=v" help:"Override a key of the configuration."`
	Out    string   `required:"" placeholder:"DIR" help:"Where train.bin and val.bin go."`
}

func (c *prepareCmd) Run(e *env) error {
	cfg, err := config.Load(c.Config, e.environ, c.Set)
	if err != nil {
		return usage{err}
	}
	out, err := data.Prepare(cfg.Data, c.Out)
	if err != nil {
		return cfg.LocateData(err)
	}
	fmt.Fprintf(e.out, "data: {source: %s, path: %s, vocab: %d, dtype: %s", out.Source, out.Path, out.Vocab, out.DType)
	if out.Tokenizer != "" {
		fmt.Fprintf(e.out, ", tokenizer: %s", out.Tokenizer)
	}
	fmt.Fprintln(e.out, "}")
	return nil
}

type inspectCmd struct {
	Config string   `short:"c" required:"" placeholder:"FILE" help:"A run's configuration; its data section counts."`
	Set    []string `sep:"none" placeholder:"data.k=v" help:"Override a key of the configuration."`
}

func (c *inspectCmd) Run(e *env) (err error) {
	cfg, err := config.Load(c.Config, e.environ, c.Set)
	if err != nil {
		return usage{err}
	}
	learn, valid, err := cfg.OpenData()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close(learn), data.Close(valid)) }()
	info := learn.Info()
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	row := func(key string, value any) { fmt.Fprintf(w, "%s\t%v\n", key, value) }
	row("source", info.Describe)
	row("samples", fmt.Sprintf("%s to train, %s to validate", metrics.Group(float64(learn.Len())), metrics.Group(float64(valid.Len()))))
	for _, f := range learn.Fields() {
		row("field "+f.Name, fmt.Sprintf("%v%v", f.DType, f.Shape))
	}
	if info.Vocab > 0 {
		row("vocabulary", info.Vocab)
	}
	if info.Classes > 0 {
		row("classes", fmt.Sprint(info.Classes, " ", info.Labels))
	}
	if info.Table != nil {
		for _, col := range info.Table.Columns {
			row("column "+col.Name, describe(col))
		}
	}
	row("sha256", info.Hash)
	if err := w.Flush(); err != nil {
		return err
	}
	return first(e, learn)
}

func describe(c data.Column) string {
	if c.Kind == data.ColumnCategory {
		return fmt.Sprintf("%s, %d values", c.Kind, len(c.Values))
	}
	return fmt.Sprintf("%s, mean %.4g, deviation %.4g", c.Kind, c.Mean, c.Std)
}

// first prints the beginning of the first training sample.
func first(e *env, ds data.Dataset) error {
	var dst [][]byte
	for _, f := range ds.Fields() {
		dst = append(dst, tensor.AlignedBytes(f.Bytes()))
	}
	if err := ds.Read(0, nil, dst); err != nil {
		return err
	}
	for k, f := range ds.Fields() {
		t, err := tensor.FromBytes(f.DType, f.Shape, dst[k])
		if err != nil {
			return err
		}
		values := t.Float64s()
		fmt.Fprintf(e.out, "first sample, %s: %.4g", f.Name, values[:min(12, len(values))])
		if tok := ds.Info().Tokenizer; tok != nil {
			fmt.Fprintf(e.out, " = %q", tok.Decode(tensor.Data[int32](t)[:min(24, t.Size())]))
		}
		fmt.Fprintln(e.out)
	}
	return nil
}
