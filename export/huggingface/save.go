// Package huggingface owns the folder that transformers reads: model.safetensors, config.json and tokenizer files,
// written from a trained model and read back. It must not know of training.
package huggingface

import (
	"encoding/json"
	"io"

	"ringo/data"
	"ringo/export"
	"ringo/export/safetensors"
	"ringo/internal/files"
	"ringo/models"
)

// The files of a folder.
const (
	modelFile      = "model.safetensors"
	configFile     = "config.json"
	generationFile = "generation_config.json"
)

// Save writes a model as a new folder, whole or not at all: gpt as GPT2LMHeadModel, llama as LlamaForCausalLM, which
// transformers' AutoModelForCausalLM and AutoTokenizer load. Other models get their weights and a config.json that
// ringo reads, as transformers has no class for them.
func Save(fs files.FS, dir string, s *export.Source) error {
	bos, eos := int32(-1), int32(-1)
	if m, ok := s.Tokenizer.(data.Marker); ok {
		bos, eos = m.BOS(), m.EOS()
	}
	c := configOf(s.Model.Config, bos, eos)
	c.Ringo = &Extra{Model: s.Model.Config, Labels: s.Labels, Image: s.Image, Table: s.Table, Step: s.Step, SHA256: s.SHA256}
	parts := []files.Part{{Name: modelFile, Write: func(w io.Writer) error {
		return safetensors.Write(w, map[string]string{"format": "pt"}, s.Items(toHalves(s)))
	}}}
	if s.Model.Language() {
		parts = append(parts, jsonPart(generationFile, map[string]any{"bos_token_id": c.BOS, "eos_token_id": c.EOS, "max_length": s.Model.Context}))
	}
	if s.Tokenizer != nil {
		spec := s.Tokenizer.Spec()
		c.Ringo.Tokenizer = &spec
		files, err := tokenizerFiles(s.Tokenizer, s.Model.Context)
		if err != nil {
			return err
		}
		parts = append(parts, files...)
	}
	return files.WriteFolder(fs, dir, append(parts, jsonPart(configFile, c)))
}

// toHalves reorders the weights that interleaved rotary pairs concern.
func toHalves(s *export.Source) func(models.Weight, []byte) error {
	if !s.Model.RopeInterleaved {
		return nil
	}
	return func(w models.Weight, raw []byte) error {
		if heads := Rotated(s.Model.Config, w); heads > 0 {
			Halves(raw, heads, len(raw)/(w.To-w.From), false)
		}
		return nil
	}
}

func jsonPart(name string, v any) files.Part {
	return files.Part{Name: name, Write: func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}}
}
