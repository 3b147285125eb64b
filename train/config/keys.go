package config

import (
	"reflect"
	"sort"
	"strings"
)

// tag returns a field's YAML name, "" where it has none, and whether its keys belong to the outer section.
func tag(f reflect.StructField) (name string, inline bool) {
	name, rest, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" || !f.IsExported() {
		return "", false
	}
	return name, strings.Contains(rest, "inline")
}

// fieldOf returns the field of struct v that a YAML key stands for.
func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		name, inline := tag(v.Type().Field(i))
		if inline {
			if f, ok := fieldOf(v.Field(i), key); ok {
				return f, true
			}
		} else if name == key && name != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// keysOf lists the keys of a section, in declaration order.
func keysOf(t reflect.Type) (out []string) {
	for i := range t.NumField() {
		name, inline := tag(t.Field(i))
		switch {
		case inline:
			out = append(out, keysOf(t.Field(i).Type)...)
		case name != "":
			out = append(out, name)
		}
	}
	return out
}

// hint suggests the nearest key, or lists all where none is near.
func hint(key string, t reflect.Type) string {
	keys := keysOf(t)
	best, at := len(key)/2+1, ""
	for _, k := range keys {
		if d := distance(key, k); d < best {
			best, at = d, k
		}
	}
	if at != "" {
		return ": did you mean " + at + "?"
	}
	sort.Strings(keys)
	return ", expected one of " + strings.Join(keys, ", ")
}

// distance is Levenshtein's: insertions, deletions and substitutions cost 1 each.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			sub := diag
			if a[i] != b[j] {
				sub++
			}
			diag = row[j+1]
			row[j+1] = min(sub, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
