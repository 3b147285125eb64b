package data

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The kinds of a table's columns.
const (
	ColumnNumeric  = "numeric"
	ColumnCategory = "category"
	ColumnIgnore   = "ignore"
)

// Limits that turn a mistake (an identifier taken for a category) into a sentence instead of a huge input.
const (
	maxFeatures   = 1 << 14
	maxClassGuess = 100 // distinct whole numbers up to which a target counts as a class
)

// Schema says how a row of text becomes numbers. It is learnt from the training rows, and is plain data, so
// that a checkpoint can store it as JSON and a server can encode new rows with it.
type Schema struct {
	Columns []Column `json:"columns"` // in the order of the file
	Target  int      `json:"target"`  // index of the column to predict
	Embed   bool     `json:"embed"`   // categories as ids for embeddings instead of one-hot features
}

// Column is one column of a table.
//
//	numeric:  (x − Mean) / Std; a missing value counts as Mean, that is 0
//	category: id 0 for a missing value or one not seen in training, id 1+i for Values[i];
//	          one-hot, the ids are 1+len(Values) features
//	target:   the class is the index in Values; or, numeric, the value itself
type Column struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Mean   float64  `json:"mean,omitempty"`
	Std    float64  `json:"std,omitempty"`
	Values []string `json:"values,omitempty"` // sorted
}

// isMissing reports whether a cell stands for an unknown value.
func isMissing(cell string) bool { return cell == "" || cell == "?" }

// Features is the width of the features field.
func (s *Schema) Features() int {
	n := 0
	for i, c := range s.Columns {
		switch {
		case i == s.Target:
		case c.Kind == ColumnNumeric:
			n++
		case c.Kind == ColumnCategory && !s.Embed:
			n += 1 + len(c.Values)
		}
	}
	return n
}

// Categories lists the number of ids of each column of the categories field; nil when one-hot.
func (s *Schema) Categories() []int {
	var sizes []int
	for i, c := range s.Columns {
		if i != s.Target && c.Kind == ColumnCategory && s.Embed {
			sizes = append(sizes, 1+len(c.Values))
		}
	}
	return sizes
}

// FeatureNames names the features in order: age, workclass=Private, workclass=? for the missing value.
func (s *Schema) FeatureNames() []string {
	var names []string
	for i, c := range s.Columns {
		switch {
		case i == s.Target:
		case c.Kind == ColumnNumeric:
			names = append(names, c.Name)
		case c.Kind == ColumnCategory && !s.Embed:
			names = append(names, c.Name+"=?")
			for _, v := range c.Values {
				names = append(names, c.Name+"="+v)
			}
		}
	}
	return names
}

// Encode writes the inputs of one row, cells in the order of Columns (the target's is not looked at), to
// features (Features() long) and categories (len(Categories()) long, or nil when one-hot).
func (s *Schema) Encode(row []string, features []float32, categories []int32) error {
	if len(row) != len(s.Columns) {
		return fmt.Errorf("row has %d cells, expected %d (%s)", len(row), len(s.Columns), strings.Join(s.names(), ", "))
	}
	clear(features)
	f, m := 0, 0
	for i, c := range s.Columns {
		switch {
		case i == s.Target:
		case c.Kind == ColumnNumeric:
			x, err := c.number(row[i])
			if err != nil {
				return err
			}
			features[f] = x
			f++
		case c.Kind == ColumnCategory:
			id := c.id(row[i])
			if s.Embed {
				categories[m] = int32(id)
				m++
			} else {
				features[f+id] = 1
				f += 1 + len(c.Values)
			}
		}
	}
	return nil
}

// number standardises a cell.
func (c *Column) number(cell string) (float32, error) {
	if isMissing(cell) {
		return 0, nil
	}
	x, err := parseNumber(cell)
	if err != nil {
		return 0, fmt.Errorf("column %q: %q is not a number; correct it, or declare the column as %s:%s", c.Name, cell, c.Name, ColumnCategory)
	}
	return float32((x - c.Mean) / c.Std), nil
}

// id returns the category id of a cell.
func (c *Column) id(cell string) int {
	if isMissing(cell) {
		return 0
	}
	at, ok := slices.BinarySearch(c.Values, cell)
	if !ok {
		return 0
	}
	return 1 + at
}

// class returns the index of a target cell in Values. C4.5's test files end a label in a dot.
func (c *Column) class(cell string) (int, error) {
	if at, ok := slices.BinarySearch(c.Values, cell); ok {
		return at, nil
	}
	if at, ok := slices.BinarySearch(c.Values, strings.TrimSuffix(cell, ".")); ok {
		return at, nil
	}
	if isMissing(cell) {
		return 0, fmt.Errorf("column %q: the value to predict is missing", c.Name)
	}
	return 0, fmt.Errorf("column %q: class %q does not occur in the training rows (%s)", c.Name, cell, strings.Join(c.Values, ", "))
}

// parseNumber accepts finite decimal numbers only: no NaN, no infinity, no hexadecimal.
func parseNumber(cell string) (float64, error) {
	x, err := strconv.ParseFloat(cell, 64)
	if err != nil {
		return 0, err
	}
	if math.IsNaN(x) || math.IsInf(x, 0) || strings.ContainsAny(cell, "xX_") {
		return 0, strconv.ErrSyntax
	}
	return x, nil
}

func (s *Schema) names() []string {
	names := make([]string, len(s.Columns))
	for i, c := range s.Columns {
		names[i] = c.Name
	}
	return names
}
