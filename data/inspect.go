package data

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"unicode"

	"ringo/runtime/tensor"
)

// Inspect opens what cfg names and returns a summary for people: counts, classes, value ranges, one sample.
// A text without a context gets one of 64 tokens.
func Inspect(cfg Config) (string, error) {
	if cfg.Context == 0 {
		cfg.Context = 64
	}
	train, valid, err := Open(cfg)
	if err != nil {
		return "", err
	}
	defer Close(train)
	defer Close(valid)
	var out strings.Builder
	info := train.Info()
	fmt.Fprintf(&out, "%s\n", info.Describe)
	fmt.Fprintf(&out, "%-12s %s\n", "kind", info.Kind)
	fmt.Fprintf(&out, "%-12s %d training, %d validation\n", "samples", train.Len(), valid.Len())
	fmt.Fprintf(&out, "%-12s %s\n", "hash", info.Hash)
	for _, f := range train.Fields() {
		fmt.Fprintf(&out, "%-12s %s %v%v\n", "field", f.Name, f.DType, f.Shape)
	}
	switch info.Kind {
	case KindText:
		err = inspectText(&out, train)
	case KindImage:
		err = inspectImages(&out, train, valid)
	case KindTable:
		err = inspectTable(&out, train, valid)
	}
	return out.String(), err
}

// InspectPath is Inspect for a file or folder whose source follows from its name and content.
func InspectPath(path string) (string, error) {
	cfg, err := Guess(path)
	if err != nil {
		return "", err
	}
	return Inspect(cfg)
}

// Guess returns the configuration that opens a file or folder, by its name and content.
func Guess(path string) (Config, error) {
	found, err := Find(path)
	if err != nil {
		return Config{}, err
	}
	cfg := Config{Path: path}
	if isDir(found) {
		has := func(pattern string) bool {
			list, err := filepath.Glob(filepath.Join(found, pattern))
			return err == nil && len(list) > 0
		}
		switch {
		case has(idxNames[0] + "*"):
			cfg.Source = "idx"
		case has("data_batch_1.bin") || has(cifarFolder):
			cfg.Source = "cifar10"
		case has("*.bin"):
			cfg.Source, cfg.Vocab = "tokens", 1<<16
		case has("input.txt"):
			cfg.Source, cfg.Path = "text", filepath.Join(path, "input.txt")
		case has(filepath.Join("src", "fmt")):
			cfg.Source = "go-stdlib"
		default:
			return cfg, fmt.Errorf("%s: the folder holds no data set that ringo recognises (MNIST's four files, CIFAR-10's batches, *.bin, input.txt)", found)
		}
		return cfg, nil
	}
	name := strings.TrimSuffix(filepath.Base(found), ".gz")
	switch ext := filepath.Ext(name); {
	case strings.Contains(name, "images-idx3"):
		cfg.Source = "idx"
	case ext == ".csv" || ext == ".tsv" || ext == ".data":
		cfg.Source = "csv"
		if ext == ".data" { // UCI's files have no header
			if cfg.Columns, err = numberedColumns(found); err != nil {
				return cfg, err
			}
		}
	case ext == ".bin":
		cfg.Source, cfg.Vocab = "tokens", 1<<16
	default:
		cfg.Source, cfg.Tokenizer = "text", "char"
	}
	return cfg, nil
}

// numberedColumns names the columns of a table without a header c1, c2, …
func numberedColumns(path string) ([]string, error) {
	raw, err := readFile(path, maxIDX, nil)
	if err != nil {
		return nil, err
	}
	f, err := parseCSV(path, raw, 0, func([]string) bool { return false })
	if err != nil {
		return nil, err
	}
	names := make([]string, len(f.rows[0]))
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i+1)
	}
	return names, nil
}

func inspectText(out *strings.Builder, train Dataset) error {
	info := train.Info()
	fmt.Fprintf(out, "%-12s %d\n", "vocabulary", info.Vocab)
	if info.Tokenizer == nil {
		return nil
	}
	if spec := info.Tokenizer.Spec(); spec.Chars != "" {
		fmt.Fprintf(out, "%-12s %q\n", "characters", spec.Chars)
	}
	buf := newBuffers(train.Fields())
	if err := train.Read(0, nil, buf); err != nil {
		return err
	}
	fmt.Fprintf(out, "%-12s %q\n", "begins", info.Tokenizer.Decode(tensor.View[int32](buf[0])))
	return nil
}

// inspectImages counts classes and draws the first image.
func inspectImages(out *strings.Builder, train, valid Dataset) error {
	info := train.Info()
	fmt.Fprintf(out, "%-12s mean %.4v, deviation %.4v of pixels in 0…1\n", "pixels", info.Image.Mean, info.Image.Std)
	if err := inspectClasses(out, train, valid); err != nil {
		return err
	}
	buf := newBuffers(train.Fields())
	if err := train.Read(0, nil, buf); err != nil {
		return err
	}
	x, lo, hi := tensor.View[float32](buf[0]), float32(math.Inf(1)), float32(math.Inf(-1))
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	fmt.Fprintf(out, "%-12s class %d, values %.3f … %.3f\n", "first", tensor.View[int32](buf[1])[0], lo, hi)
	const shades = " .:-=+*#%@"
	for y := 0; y < info.Image.Height; y += 2 { // characters are twice as high as wide
		line := make([]byte, info.Image.Width)
		for i := range line {
			v := (x[y*info.Image.Width+i] - lo) / max(hi-lo, 1e-9)
			line[i] = shades[int(v*float32(len(shades)-1)+0.5)]
		}
		fmt.Fprintf(out, "  %s\n", strings.TrimRight(string(line), " "))
	}
	return nil
}

// inspectClasses counts the labels of both parts.
func inspectClasses(out *strings.Builder, train, valid Dataset) error {
	info := train.Info()
	counts := make([][2]int, info.Classes)
	for part, ds := range []Dataset{train, valid} {
		buf := newBuffers(ds.Fields())
		for i := range ds.Len() {
			if err := ds.Read(i, nil, buf); err != nil {
				return err
			}
			counts[tensor.View[int32](buf[len(buf)-1])[0]][part]++
		}
	}
	for c, n := range counts {
		name := fmt.Sprint(c)
		if c < len(info.Labels) {
			name = info.Labels[c]
		}
		fmt.Fprintf(out, "%-12s %s: %d training, %d validation\n", "class", printable(name), n[0], n[1])
	}
	return nil
}

func inspectTable(out *strings.Builder, train, valid Dataset) error {
	s := train.Info().Table
	for i, c := range s.Columns {
		role := c.Kind
		if i == s.Target {
			role = "target, " + role
		}
		switch c.Kind {
		case ColumnNumeric:
			role += fmt.Sprintf(", mean %.6g, deviation %.6g", c.Mean, c.Std)
		case ColumnCategory:
			role += fmt.Sprintf(", %d values", len(c.Values))
			if len(c.Values) > 0 {
				role += ": " + printable(strings.Join(c.Values[:min(6, len(c.Values))], ", "))
			}
		}
		fmt.Fprintf(out, "%-12s %s: %s\n", "column", printable(c.Name), role)
	}
	if train.Info().Classes == 0 {
		return nil
	}
	return inspectClasses(out, train, valid)
}

// printable replaces control characters, so that a file cannot steer the terminal, and cuts long names.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
	if r := []rune(s); len(r) > 80 {
		s = string(r[:79]) + "…"
	}
	return s
}
