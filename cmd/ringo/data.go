package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"ringo/data"
	"ringo/data/fetch"
	"ringo/train/config"
	"ringo/train/metrics"
)

type dataCmd struct {
	Fetch   fetchCmd   `cmd:"" help:"Download public data sets into the user's cache, verified by sha256."`
	Prepare prepareCmd `cmd:"" help:"Tokenize a text once: write token files that later runs open in no time."`
	Inspect inspectCmd `cmd:"" help:"Show what a file, a folder or a configuration's data set holds."`
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
	Path   string   `arg:"" optional:"" help:"A file or folder, whose kind is told from its name and content."`
	Config string   `short:"c" placeholder:"FILE" help:"In place of a path, a run's configuration; its data section counts."`
	Set    []string `sep:"none" placeholder:"data.k=v" help:"Override a key of the configuration."`
}

func (c *inspectCmd) Run(e *env) error {
	if (c.Path == "") == (c.Config == "") || c.Path != "" && len(c.Set) > 0 {
		return usage{errors.New("data inspect: expected a path, or a configuration with -c, of which --set may override keys")}
	}
	text, err := c.inspect(e)
	if err != nil {
		return err
	}
	_, err = io.WriteString(e.out, text)
	return err
}

func (c *inspectCmd) inspect(e *env) (string, error) {
	if c.Path != "" {
		return data.InspectPath(c.Path)
	}
	cfg, err := config.Load(c.Config, e.environ, c.Set)
	if err != nil {
		return "", usage{err}
	}
	text, err := data.Inspect(cfg.Data)
	return text, cfg.LocateData(err)
}
