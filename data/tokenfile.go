package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ringo/runtime/tensor"
)

// tokenFileSet serves windows out of token files. Windows never cross from one file to the next.
type tokenFileSet struct {
	files   []tokenFile
	context int
	width   int
	samples []int // windows before file i; the last entry is the total
	offsets []int // starts of windows before file i, likewise
	fields  []Field
	info    Info
}

var _ Windowed = (*tokenFileSet)(nil)

// openTokens opens one file (split into head and tail), a folder of train*.bin and val*.bin, or path and
// test, each a file or a pattern such as shard_*.bin.
func openTokens(cfg Config) (train, valid Dataset, err error) {
	info := Info{Kind: KindText, Vocab: cfg.Vocab, Sampling: cfg.Sampling}
	if info.Sampling == "" {
		info.Sampling = SampleRandom
	}
	if cfg.Tokenizer != "" {
		if info.Tokenizer, err = openTokenizer(TokenizerSpec{Name: cfg.Tokenizer, Path: cfg.TokenizerPath}, ""); err != nil {
			return nil, nil, err
		}
		info.Vocab = max(cfg.Vocab, info.Tokenizer.Vocab())
	}
	if info.Vocab == 0 {
		return nil, nil, &KeyError{"data.vocab", "missing; give the number of ids, or the tokenizer that made the file"}
	}
	trainFiles, validFiles, err := tokenPaths(cfg)
	if err != nil {
		return nil, nil, err
	}
	width := 2
	if cfg.DType == "uint32" {
		width = 4
	}
	a, err := openTokenFiles(trainFiles, width, cfg.Context)
	if err != nil {
		return nil, nil, err
	}
	var b *tokenFileSet
	if len(validFiles) > 0 {
		if b, err = openTokenFiles(validFiles, width, cfg.Context); err != nil {
			return nil, nil, errors.Join(err, a.Close())
		}
	} else {
		b = a.splitTail(cfg.Split)
	}
	if cfg.Limit > 0 {
		a.limit(cfg.Limit)
	}
	if err = a.index("training"); err == nil {
		err = b.index("validation")
	}
	if err == nil {
		info.Hash, err = a.fingerprint(b)
	}
	if err != nil {
		return nil, nil, errors.Join(err, a.Close(), b.Close())
	}
	for _, s := range []*tokenFileSet{a, b} {
		s.info = info
		for _, f := range s.files {
			s.info.Tokens += f.tokens
		}
	}
	a.info.Describe = fmt.Sprintf("%s: %d training and %d validation tokens in %d files, vocabulary %d",
		cfg.Path, a.info.Tokens, b.info.Tokens, len(trainFiles)+len(validFiles), info.Vocab)
	b.info.Describe = a.info.Describe
	return a, b, nil
}

// tokenPaths resolves path and test to files in sorted order.
func tokenPaths(cfg Config) (train, valid []string, err error) {
	path, err := findPattern(cfg.Path)
	if err != nil {
		return nil, nil, err
	}
	if cfg.Test != "" {
		if valid, err = findPattern(cfg.Test); err != nil {
			return nil, nil, err
		}
	}
	if len(path) != 1 || !isDir(path[0]) {
		return path, valid, nil
	}
	all, err := filepath.Glob(filepath.Join(path[0], "*.bin"))
	if err != nil {
		return nil, nil, err
	}
	for _, p := range all {
		switch {
		case !strings.Contains(filepath.Base(p), "val"):
			train = append(train, p)
		case cfg.Test == "":
			valid = append(valid, p)
		}
	}
	if len(train) == 0 {
		return nil, nil, fmt.Errorf("%s: no token file (*.bin, validation files with val in the name)", path[0])
	}
	return train, valid, nil
}

// findPattern is Find for a path that may be a pattern.
func findPattern(path string) ([]string, error) {
	if strings.ContainsAny(path, "*?[") {
		for _, p := range places(path) {
			if found, err := filepath.Glob(p); err == nil && len(found) > 0 {
				slices.Sort(found)
				return found, nil
			}
		}
	}
	p, err := Find(path)
	return []string{p}, err
}

func openTokenFiles(paths []string, width, context int) (*tokenFileSet, error) {
	s := &tokenFileSet{context: context, fields: textFields(context)}
	for _, p := range paths {
		f, idBytes, err := openTokenFile(p, width)
		if err == nil && s.width != 0 && s.width != idBytes {
			f.file.Close()
			err = fmt.Errorf("ids of %d bytes, the file before has %d", idBytes, s.width)
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		s.width = idBytes
		s.files = append(s.files, f)
	}
	return s, nil
}

// splitTail moves the tail of the last file into a set of its own, or whole files where that is enough.
func (s *tokenFileSet) splitTail(part float64) *tokenFileSet {
	total := 0
	for _, f := range s.files {
		total += f.tokens
	}
	keep := int(float64(total) * part)
	tail := &tokenFileSet{context: s.context, width: s.width, fields: s.fields}
	for i, f := range s.files {
		if keep < f.tokens {
			rest := tokenFile{f.file, f.start + int64(keep*s.width), f.tokens - keep}
			tail.files = append(tail.files, rest)
			tail.files = append(tail.files, s.files[i+1:]...)
			s.files[i].tokens = keep
			s.files = s.files[:i+1]
			break
		}
		keep -= f.tokens
	}
	return tail
}

// limit keeps the first n tokens.
func (s *tokenFileSet) limit(n int) {
	for i := range s.files {
		s.files[i].tokens = min(s.files[i].tokens, n)
		n -= s.files[i].tokens
	}
}

// index counts windows; files too short for one are skipped.
func (s *tokenFileSet) index(part string) error {
	s.samples, s.offsets = []int{0}, []int{0}
	tokens := 0
	for i, f := range s.files {
		tokens += f.tokens
		s.samples = append(s.samples, s.samples[i]+max(f.tokens-1, 0)/s.context)
		s.offsets = append(s.offsets, s.offsets[i]+max(f.tokens-s.context, 0))
	}
	if s.Len() == 0 {
		return fmt.Errorf("the %s part has %d tokens, a window of data.context %d needs at least %d", part, tokens, s.context, s.context+1)
	}
	return nil
}

// fingerprint hashes sizes and the first and last MiB of every file: reading a large corpus whole would
// take minutes.
func (s *tokenFileSet) fingerprint(other *tokenFileSet) (string, error) {
	const part = 1 << 20
	sum := newHash()
	for _, f := range slices.Concat(s.files, other.files) {
		bytes := int64(f.tokens * s.width)
		fmt.Fprintln(sum, f.tokens)
		for _, at := range []int64{0, max(bytes-part, 0)} {
			if _, err := io.Copy(sum, io.NewSectionReader(f.file, f.start+at, min(part, bytes))); err != nil {
				return "", err
			}
		}
	}
	return hexSum(sum), nil
}

func (s *tokenFileSet) Len() int        { return s.samples[len(s.samples)-1] }
func (s *tokenFileSet) Offsets() int    { return s.offsets[len(s.offsets)-1] }
func (s *tokenFileSet) Fields() []Field { return s.fields }
func (s *tokenFileSet) Info() Info      { return s.info }

// Close closes the files; the other part of a split shares them and is closed with it.
func (s *tokenFileSet) Close() error {
	var err error
	for _, f := range s.files {
		if e := f.file.Close(); e != nil && !errors.Is(e, os.ErrClosed) {
			err = e
		}
	}
	return err
}

func (s *tokenFileSet) Read(i int, _ *tensor.Philox, dst [][]byte) error {
	if err := checkRead(i, s.Len(), s.fields, dst); err != nil {
		return err
	}
	file := locate(s.samples, i)
	return s.window(&s.files[file], (i-s.samples[file])*s.context, dst)
}

func (s *tokenFileSet) ReadAt(offset int, dst [][]byte) error {
	if err := checkRead(offset, s.Offsets(), s.fields, dst); err != nil {
		return err
	}
	file := locate(s.offsets, offset)
	return s.window(&s.files[file], offset-s.offsets[file], dst)
}

// locate returns the last file whose first entry is ≤ i and that has any.
func locate(before []int, i int) int {
	at, found := slices.BinarySearch(before, i)
	if !found {
		return at - 1
	}
	for at+1 < len(before) && before[at+1] == i { // empty files
		at++
	}
	return at
}

// window reads tokens and targets that start at the token offset of a file.
func (s *tokenFileSet) window(f *tokenFile, offset int, dst [][]byte) error {
	for k, raw := range dst {
		ids := tensor.View[int32](raw)
		// Ids of two bytes go to the upper half and widen forward: id i is read from byte 2n+2i and written
		// to bytes 4i…4i+3, which never passes what is still to be read.
		packed := raw[len(raw)-len(ids)*s.width:]
		at := f.start + int64((offset+k)*s.width)
		if _, err := f.file.ReadAt(packed, at); err != nil {
			return fmt.Errorf("%s: tokens at byte %d: %w", f.file.Name(), at, err)
		}
		for i := range ids {
			id := uint32(0)
			if s.width == 2 {
				id = uint32(binary.LittleEndian.Uint16(packed[2*i:]))
			} else {
				id = binary.LittleEndian.Uint32(packed[4*i:])
			}
			if id >= uint32(s.info.Vocab) {
				return fmt.Errorf("%s: token %d at byte %d is outside the vocabulary of %d; check data.dtype, data.vocab and data.tokenizer",
					f.file.Name(), id, at+int64(i*s.width), s.info.Vocab)
			}
			ids[i] = int32(id)
		}
	}
	return nil
}
