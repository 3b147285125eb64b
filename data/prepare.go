package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"ringo/internal/files"
	"ringo/runtime/tensor"
)

// Prepare tokenizes a text once and for all: it writes train.bin and val.bin below dir, which source tokens
// opens in no time and without holding them in memory. Ids are uint16 or, for a larger vocabulary, uint32,
// without a header, as nanoGPT's prepare.py writes them. It returns the data section that opens them.
func Prepare(cfg Config, dir string) (Config, error) {
	cfg.Context = 1
	train, valid, err := Open(cfg)
	if err != nil {
		return Config{}, err
	}
	defer Close(train)
	defer Close(valid)
	info := train.Info()
	out := Config{Source: "tokens", Path: dir, Vocab: info.Vocab, DType: "uint16"}
	if info.Tokenizer == nil {
		return Config{}, fmt.Errorf("data source %s: only texts can be prepared", cfg.Source)
	}
	if spec := info.Tokenizer.Spec(); spec.Chars == "" { // a character vocabulary is not stored in the files
		out.Tokenizer, out.TokenizerPath = spec.Name, spec.Path
	}
	if info.Vocab > 1<<16 {
		out.DType = "uint32"
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return Config{}, err
	}
	put := binary.LittleEndian.AppendUint32
	if out.DType == "uint16" {
		put = func(b []byte, id uint32) []byte { return binary.LittleEndian.AppendUint16(b, uint16(id)) }
	}
	part := func(name string, ds Dataset) files.Part {
		return files.Part{Name: name, Write: func(w io.Writer) error { return writeTokens(w, ds, put) }}
	}
	return out, files.Write(files.OS{}, dir, part("train.bin", train), part("val.bin", valid))
}

// writeTokens writes the stream of a set opened with a context of one token: sample i holds token i, and the last target is the last
// token. put appends an id to bytes. w gathers small writes.
func writeTokens(w io.Writer, ds Dataset, put func(b []byte, id uint32) []byte) error {
	fields := newBuffers(ds.Fields())
	var id []byte
	write := func(field []byte) error {
		id = put(id[:0], uint32(tensor.View[int32](field)[0]))
		_, err := w.Write(id)
		return err
	}
	for i := range ds.Len() {
		if err := errors.Join(ds.Read(i, nil, fields), write(fields[0])); err != nil {
			return err
		}
	}
	return write(fields[1])
}
