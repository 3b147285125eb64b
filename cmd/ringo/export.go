package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ringo/data"
	"ringo/export"
	"ringo/export/gguf"
	"ringo/export/huggingface"
	"ringo/export/onnx"
	"ringo/export/safetensors"
	"ringo/internal/files"
	"ringo/train"
	"ringo/train/metrics"
)

type exportCmd struct {
	Checkpoint string `required:"" placeholder:"DIR" help:"A checkpoint, a run's folder, or a folder of Hugging Face's."`
	Format     string `required:"" placeholder:"FORMAT" help:"safetensors (a folder that transformers loads), onnx or gguf; ringo is ringo's own int8 model."`
	DType      string `name:"dtype" default:"f32" placeholder:"TYPE" help:"Type of the weights of a gguf: f32, f16 or q8_0."`
	Out        string `required:"" placeholder:"PATH" help:"The file, or for safetensors the new folder, to write."`
	int8Flags
}

// exporter writes one format.
type exporter struct {
	dtypes []string
	write  func(fs files.FS, path string, s *export.Source, dtype string) error
}

// exporters is the table of formats.
var exporters = map[string]exporter{
	"safetensors": {[]string{"f32"}, func(fs files.FS, path string, s *export.Source, _ string) error {
		return huggingface.Save(fs, path, s)
	}},
	"onnx": {[]string{"f32"}, func(fs files.FS, path string, s *export.Source, _ string) error {
		inf, err := s.Inference()
		if err != nil {
			return err
		}
		f, err := onnx.Encode(onnx.Model{Name: s.Model.Name, Inference: inf, Metadata: s.Metadata()})
		if err != nil {
			return err
		}
		return f.Save(fs, path)
	}},
	"gguf": {[]string{"f32", "f16", "q8_0"}, func(fs files.FS, path string, s *export.Source, dtype string) error {
		return gguf.Save(fs, path, s, gguf.Types[dtype])
	}},
}

func (c *exportCmd) Run(e *env) (err error) {
	begin := time.Now()
	if c.Int8 || c.Format == int8Format {
		return c.exportInt8(e, begin)
	}
	x, err := c.exporter()
	if err != nil {
		return err
	}
	s, _, closeSource, err := openSource(c.Checkpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	if err := x.write(files.OS{}, filepath.Clean(c.Out), s, c.DType); err != nil {
		return err
	}
	size, err := sizeOf(c.Out)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.out, "%s, step %d, %s parameters: wrote %s as %s, %s bytes; %s\n", s.Model.Name, s.Step, metrics.Group(float64(s.Parameters())), c.Out, c.Format, metrics.Group(float64(size)), spent(begin))
	return nil
}

// spent says what an export took since begin.
func spent(begin time.Time) string {
	return fmt.Sprintf("%.1f s, peak memory %s MB", time.Since(begin).Seconds(), metrics.Group(float64(train.PeakRSS())/1e6))
}

// exporter returns the row of --format and checks --dtype against it.
func (c *exportCmd) exporter() (exporter, error) {
	x, ok := exporters[c.Format]
	if !ok {
		return x, usage{fmt.Errorf("--format %s: no such format, expected safetensors, onnx or gguf, or with --int8 onnx or ringo", c.Format)}
	}
	if !slices.Contains(x.dtypes, c.DType) {
		return x, usage{fmt.Errorf("--dtype %s: %s is written as %s", c.DType, c.Format, strings.Join(x.dtypes, ", "))}
	}
	return x, nil
}

// openSource opens what --checkpoint names; of a folder of Hugging Face's there is no saved run.
func openSource(path string) (*export.Source, *train.Saved, func() error, error) {
	if huggingface.Is(path) {
		f, err := huggingface.Open(path)
		if err != nil {
			return nil, nil, nil, err
		}
		return f.Source, nil, f.Close, nil
	}
	saved, err := train.OpenSaved(path)
	if err != nil {
		return nil, nil, nil, err
	}
	f, err := safetensors.Open(saved.Weights)
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := export.NewSource(saved.Model, f)
	if err == nil && saved.State.Tokenizer != nil {
		s.Tokenizer, err = data.OpenTokenizer(*saved.State.Tokenizer)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("checkpoint %s: %w", saved.Dir, err), f.Close())
	}
	s.Labels, s.Image, s.Table, s.Step, s.SHA256 = saved.State.Labels, saved.State.Image, saved.State.Table, saved.State.Step, saved.SHA256
	return s, saved, f.Close, nil
}

// sizeOf returns the bytes of a file with its data file beside it, or of all files of a folder.
func sizeOf(path string) (size int64, err error) {
	paths := []string{path, path + ".data"}
	if entries, err := os.ReadDir(path); err == nil {
		paths = nil
		for _, e := range entries {
			paths = append(paths, filepath.Join(path, e.Name()))
		}
	}
	for i, p := range paths {
		st, err := os.Stat(p)
		if errors.Is(err, os.ErrNotExist) && i > 0 {
			continue
		}
		if err != nil {
			return 0, err
		}
		size += st.Size()
	}
	return size, nil
}
