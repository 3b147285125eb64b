package data

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ringo/runtime/tensor"
)

// kindSample is the number of values that decide the kind of a column which the configuration does not
// declare; a later letter in a number is then a mistake to report, not a reason to change the kind.
const kindSample = 100

// fitSchema learns kinds, means, deviations, categories and classes from the training rows.
func fitSchema(cfg Config, columns []Column, f *csvFile) (*Schema, error) {
	s := &Schema{Columns: slices.Clone(columns), Target: len(columns) - 1, Embed: cfg.Categories == "embed"}
	if cfg.Target != "" {
		name, kind, _ := strings.Cut(cfg.Target, ":")
		s.Target = slices.IndexFunc(s.Columns, func(c Column) bool { return c.Name == name })
		if s.Target < 0 {
			return nil, missingColumn("data.target", name, f.path, columns)
		}
		if kind != "" {
			s.Columns[s.Target].Kind = kind
		}
	}
	for i := range s.Columns {
		c := &s.Columns[i]
		if c.Kind == "" {
			c.Kind = guessKind(f, i, i == s.Target)
		}
		var err error
		switch c.Kind {
		case ColumnNumeric:
			err = c.fitNumeric(f, i, i == s.Target)
		case ColumnCategory:
			c.fitCategory(f, i)
		case ColumnIgnore:
			if i == s.Target {
				err = &KeyError{"data.target", fmt.Sprintf("column %q cannot be of kind ignore", c.Name)}
			}
		default:
			err = &KeyError{"data.target", fmt.Sprintf("kind %q is unknown, expected numeric or category", c.Kind)}
		}
		if err != nil {
			return nil, err
		}
	}
	if n := s.Features() + len(s.Categories()); n == 0 || n > maxFeatures {
		return nil, fmt.Errorf("%s: the columns make %d features, expected 1…%d; declare identifiers as NAME:ignore or set data.categories to embed", f.path, n, maxFeatures)
	}
	if t := s.Columns[s.Target]; t.Kind == ColumnCategory && len(t.Values) < 2 {
		return nil, fmt.Errorf("%s: column %q, the target, has only the class %q; expected at least two", f.path, t.Name, t.Values)
	}
	return s, nil
}

// guessKind calls a column numeric if its first values all are. A target of few whole numbers is a class.
func guessKind(f *csvFile, col int, target bool) string {
	seen, whole := 0, true
	distinct := map[float64]bool{}
	for _, row := range f.rows {
		if isMissing(row[col]) {
			continue
		}
		x, err := parseNumber(row[col])
		if err != nil && seen < kindSample {
			return ColumnCategory
		}
		whole = whole && err == nil && x == math.Trunc(x)
		if distinct[x] = true; len(distinct) > maxClassGuess {
			whole = false
		}
		if seen++; seen >= kindSample && !target {
			break
		}
	}
	if seen == 0 || target && whole {
		return ColumnCategory
	}
	return ColumnNumeric
}

// fitNumeric measures mean and deviation (Welford 1962: one pass, no cancellation).
func (c *Column) fitNumeric(f *csvFile, col int, target bool) error {
	n, mean, m2 := 0.0, 0.0, 0.0
	for r, row := range f.rows {
		if isMissing(row[col]) {
			if target {
				return fmt.Errorf("%s: column %q: the value to predict is missing", f.where(r), c.Name)
			}
			continue
		}
		x, err := parseNumber(row[col])
		if err != nil {
			return fmt.Errorf("%s: column %q: %q is not a number; correct it, or declare the column as %s:%s", f.where(r), c.Name, row[col], c.Name, ColumnCategory)
		}
		n++
		d := x - mean
		mean += d / n
		m2 += d * (x - mean)
	}
	c.Mean, c.Std = mean, 1
	if std := math.Sqrt(m2 / max(n, 1)); std > 0 {
		c.Std = std
	}
	if math.IsInf(c.Std, 0) || math.IsNaN(c.Std) || math.IsInf(c.Mean, 0) {
		return fmt.Errorf("%s: column %q: the values are too large to standardise", f.path, c.Name)
	}
	return nil
}

func (c *Column) fitCategory(f *csvFile, col int) {
	seen := map[string]bool{}
	for _, row := range f.rows {
		if !isMissing(row[col]) && !seen[row[col]] {
			seen[strings.Clone(row[col])] = true
		}
	}
	c.Values = make([]string, 0, len(seen))
	for v := range seen {
		c.Values = append(c.Values, v)
	}
	slices.Sort(c.Values)
}

// tableSet serves encoded rows, kept in memory in compact form: one float32 per numeric column, one int32
// per category; one-hot features are spread out as a row is read.
type tableSet struct {
	schema  *Schema
	n       int
	numbers []float32 // n × numeric columns
	ids     []int32   // n × category columns
	classes []int32   // n, or nil
	values  []float32 // n targets, or nil
	kinds   []inputColumn
	fields  []Field
	info    Info
}

// inputColumn is one input in the order of the file.
type inputColumn struct {
	category bool
	width    int // of the one-hot block
}

var _ Dataset = (*tableSet)(nil)

func tableSets(cfg Config, columns []Column, train, valid *csvFile, hash string) (Dataset, Dataset, error) {
	if len(train.rows) == 0 || len(valid.rows) == 0 {
		return nil, nil, fmt.Errorf("%s: %d training and %d validation rows: expected at least one of each", train.path, len(train.rows), len(valid.rows))
	}
	s, err := fitSchema(cfg, columns, train)
	if err != nil {
		return nil, nil, err
	}
	info := Info{Kind: KindTable, Table: s, Labels: s.Columns[s.Target].Values, Classes: len(s.Columns[s.Target].Values), Sampling: cfg.Sampling, Hash: hash}
	if info.Sampling == "" {
		info.Sampling = SampleEpoch
	}
	what := fmt.Sprintf("%d classes of %s", info.Classes, s.Columns[s.Target].Name)
	if info.Classes == 0 {
		what = "the number " + s.Columns[s.Target].Name
	}
	info.Describe = fmt.Sprintf("%s: %d training and %d validation rows, %d features and %d embedded categories, target %s",
		cfg.Path, len(train.rows), len(valid.rows), s.Features(), len(s.Categories()), what)
	a, err := newTableSet(s, train, info)
	if err != nil {
		return nil, nil, err
	}
	b, err := newTableSet(s, valid, info)
	if err != nil {
		return nil, nil, err
	}
	return a, b, nil
}

func newTableSet(s *Schema, f *csvFile, info Info) (*tableSet, error) {
	t := &tableSet{schema: s, n: len(f.rows), info: info}
	if n := s.Features(); n > 0 {
		t.fields = append(t.fields, Field{"features", tensor.F32, tensor.Shape{n}})
	}
	if m := len(s.Categories()); m > 0 {
		t.fields = append(t.fields, Field{"categories", tensor.I32, tensor.Shape{m}})
	}
	for i, c := range s.Columns {
		if i != s.Target && c.Kind != ColumnIgnore {
			t.kinds = append(t.kinds, inputColumn{c.Kind == ColumnCategory, 1 + len(c.Values)})
		}
	}
	if info.Classes > 0 {
		t.fields = append(t.fields, Field{"labels", tensor.I32, tensor.Shape{}})
	} else {
		t.fields = append(t.fields, Field{"targets", tensor.F32, tensor.Shape{}})
	}
	for r, row := range f.rows {
		if err := t.add(row); err != nil {
			return nil, fmt.Errorf("%s: %w", f.where(r), err)
		}
	}
	return t, nil
}

// add encodes one row.
func (t *tableSet) add(row []string) error {
	for i := range t.schema.Columns {
		c := &t.schema.Columns[i]
		switch {
		case i == t.schema.Target && t.info.Classes > 0:
			class, err := c.class(row[i])
			if err != nil {
				return err
			}
			t.classes = append(t.classes, int32(class))
		case i == t.schema.Target:
			x, err := parseNumber(row[i])
			if err != nil {
				return fmt.Errorf("column %q: %q is not a number", c.Name, row[i])
			}
			t.values = append(t.values, float32(x))
		case c.Kind == ColumnNumeric:
			x, err := c.number(row[i])
			if err != nil {
				return err
			}
			t.numbers = append(t.numbers, x)
		case c.Kind == ColumnCategory:
			t.ids = append(t.ids, int32(c.id(row[i])))
		}
	}
	return nil
}

func (t *tableSet) Len() int        { return t.n }
func (t *tableSet) Fields() []Field { return t.fields }
func (t *tableSet) Info() Info      { return t.info }

func (t *tableSet) Read(i int, _ *tensor.Philox, dst [][]byte) error {
	if err := checkRead(i, t.n, t.fields, dst); err != nil {
		return err
	}
	numbers := t.numbers[i*(len(t.numbers)/t.n):]
	ids := t.ids[i*(len(t.ids)/t.n):]
	last := len(dst) - 1
	if t.classes != nil {
		tensor.View[int32](dst[last])[0] = t.classes[i]
	} else {
		tensor.View[float32](dst[last])[0] = t.values[i]
	}
	var features []float32
	if t.fields[0].DType == tensor.F32 && last > 0 {
		features = tensor.View[float32](dst[0])
		clear(features)
	}
	if t.schema.Embed {
		if last > 0 && t.fields[last-1].DType == tensor.I32 {
			copy(tensor.View[int32](dst[last-1]), ids)
		}
		copy(features, numbers)
		return nil
	}
	at, number, category := 0, 0, 0
	for _, k := range t.kinds {
		if k.category {
			features[at+int(ids[category])] = 1
			at += k.width
			category++
		} else {
			features[at] = numbers[number]
			at++
			number++
		}
	}
	return nil
}
