package data

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// csvComment starts a line that is no row, as in the C4.5 files of the UCI repository (adult.test's first).
const csvComment = '|'

// csvFile is a parsed table of text.
type csvFile struct {
	path   string
	header []string // the first line, when it was read as the columns' names
	rows   [][]string
	lines  []int // line number of each row, from 1
}

// where names a row for an error.
func (f *csvFile) where(row int) string { return fmt.Sprintf("%s:%d", f.path, f.lines[row]) }

// parseCSV reads comma-separated cells (RFC 4180; tabs when the path ends in .tsv), spaces after a comma
// dropped. With want > 0 every row must have so many cells, else as many as the first. isHeader says whether
// the first line is one.
func parseCSV(path string, raw []byte, want int, isHeader func(first []string) bool) (*csvFile, error) {
	f := &csvFile{path: path}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))) // byte-order mark
	r.Comment, r.TrimLeadingSpace, r.FieldsPerRecord = csvComment, true, -1
	if name := strings.TrimSuffix(path, ".gz"); strings.HasSuffix(name, ".tsv") {
		r.Comma, r.TrimLeadingSpace = '\t', false // an empty cell is not space to drop
	}
	for first := true; ; {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if pe := (*csv.ParseError)(nil); errors.As(err, &pe) {
			return nil, fmt.Errorf("%s:%d: column %d: %w", path, pe.Line, pe.Column, pe.Err)
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		line, _ := r.FieldPos(0)
		for i, cell := range row {
			row[i] = strings.TrimRight(cell, " \t\r")
		}
		if want == 0 {
			want = len(row)
		}
		if len(row) != want {
			return nil, fmt.Errorf("%s:%d: %d cells, expected %d", path, line, len(row), want)
		}
		if first {
			first = false
			if isHeader(row) {
				f.header = row
				continue
			}
		}
		f.rows, f.lines = append(f.rows, row), append(f.lines, line)
	}
	if len(f.rows) == 0 {
		return nil, fmt.Errorf("%s: no rows", path)
	}
	return f, nil
}

// columnsOf splits name:kind declarations; kind is empty where none is given.
func columnsOf(declared []string) ([]Column, error) {
	var out []Column
	for _, d := range declared {
		name, kind, has := strings.Cut(d, ":")
		if has && kind != ColumnNumeric && kind != ColumnCategory && kind != ColumnIgnore {
			return nil, &KeyError{"data.columns", fmt.Sprintf("%q: kind %q is unknown, expected numeric, category or ignore", d, kind)}
		}
		if name == "" || slices.ContainsFunc(out, func(c Column) bool { return c.Name == name }) {
			return nil, &KeyError{"data.columns", fmt.Sprintf("%q: every column needs a name of its own", d)}
		}
		out = append(out, Column{Name: name, Kind: kind})
	}
	return out, nil
}

// openCSV reads a table. The names of its columns come from columns: (then the file has rows only) or from
// its first line. In the latter case columns: may still declare kinds, when every entry names one of the
// header's columns and the first line is the header.
func openCSV(cfg Config) (train, valid Dataset, err error) {
	sum := newHash()
	read := func(name string) (string, []byte, error) {
		path, err := Find(name)
		if err != nil {
			return "", nil, err
		}
		raw, err := readFile(path, maxIDX, sum)
		return path, raw, err
	}
	path, raw, err := read(cfg.Path)
	if err != nil {
		return nil, nil, err
	}
	columns, err := columnsOf(cfg.Columns)
	if err != nil {
		return nil, nil, err
	}
	first, err := parseCSV(path, raw, 0, func(line []string) bool {
		return len(columns) == 0 || namesAny(line, columns)
	})
	if err != nil {
		return nil, nil, err
	}
	if first.header != nil {
		columns, err = mergeHeader(path, first.header, columns)
	} else if len(first.rows[0]) != len(columns) {
		err = fmt.Errorf("%s: %d cells, but data.columns names %d columns (%s)", first.where(0), len(first.rows[0]), len(columns), strings.Join(cfg.Columns, ", "))
	}
	if err != nil {
		return nil, nil, err
	}
	var second *csvFile
	if cfg.Test != "" {
		path, raw, err := read(cfg.Test)
		if err != nil {
			return nil, nil, err
		}
		if second, err = parseCSV(path, raw, len(columns), func([]string) bool { return first.header != nil }); err != nil {
			return nil, nil, err
		}
		for i, c := range columns {
			if second.header != nil && second.header[i] != c.Name {
				return nil, nil, fmt.Errorf("%s: column %d is %q, in %s it is %q", path, i+1, second.header[i], first.path, c.Name)
			}
		}
	} else {
		first, second = first.split(cfg.Split)
	}
	if cfg.Limit > 0 && cfg.Limit < len(first.rows) {
		first.rows, first.lines = first.rows[:cfg.Limit], first.lines[:cfg.Limit]
	}
	return tableSets(cfg, columns, first, second, hexSum(sum))
}

// namesAny reports whether a line names a declared column: then it is no row.
func namesAny(line []string, columns []Column) bool {
	return slices.ContainsFunc(columns, func(c Column) bool { return slices.Contains(line, c.Name) })
}

// mergeHeader gives the file's columns the declared kinds.
func mergeHeader(path string, header []string, declared []Column) ([]Column, error) {
	out, err := columnsOf(header)
	if err != nil {
		return nil, fmt.Errorf("%s:1: column names %q: %w", path, header, err)
	}
	for _, d := range declared {
		i := slices.IndexFunc(out, func(c Column) bool { return c.Name == d.Name })
		if i < 0 {
			return nil, missingColumn("data.columns", d.Name, path, out)
		}
		out[i].Kind = d.Kind
	}
	return out, nil
}

func missingColumn(key, name, path string, columns []Column) error {
	s := Schema{Columns: columns}
	return &KeyError{key, fmt.Sprintf("column %q is not in %s, which has %s", name, path, strings.Join(s.names(), ", "))}
}

// split cuts off the tail for validation.
func (f *csvFile) split(part float64) (head, tail *csvFile) {
	n := len(f.rows)
	cut := min(max(int(float64(n)*part), 1), n-1)
	head = &csvFile{f.path, f.header, f.rows[:cut], f.lines[:cut]}
	return head, &csvFile{f.path, f.header, f.rows[cut:], f.lines[cut:]}
}
