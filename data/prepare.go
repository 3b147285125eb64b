package data

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Config{}, err
	}
	for name, ds := range map[string]Dataset{"train.bin": train, "val.bin": valid} {
		if err := writeTokens(filepath.Join(dir, name), ds, out.DType == "uint32"); err != nil {
			return Config{}, err
		}
	}
	return out, nil
}

// writeTokens stores the stream of a set opened with a context of one token: sample i holds token i, and
// the last target is the last token. The file gets its name when it is whole.
func writeTokens(path string, ds Dataset, wide bool) (err error) {
	part := path + ".part"
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close() // the first error is the one to tell
			os.Remove(part)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	buf := newBuffers(ds.Fields())
	put := func(raw []byte) {
		id := uint32(tensor.View[int32](raw)[0])
		if wide {
			_, err = w.Write(binary.LittleEndian.AppendUint32(w.AvailableBuffer(), id))
		} else {
			_, err = w.Write(binary.LittleEndian.AppendUint16(w.AvailableBuffer(), uint16(id)))
		}
	}
	for i := 0; i < ds.Len() && err == nil; i++ {
		if err = ds.Read(i, nil, buf); err == nil {
			put(buf[0])
		}
	}
	if err == nil {
		put(buf[1])
	}
	if err == nil {
		err = errors.Join(w.Flush(), f.Sync())
	}
	if err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(part, path)
}
