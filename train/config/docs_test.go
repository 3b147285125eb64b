package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// docType is how docs/configuration.md writes a field's type.
func docType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "number"
	case reflect.Uint64:
		return "whole number, 0 or more"
	case reflect.Int:
		return "whole number"
	case reflect.Array:
		return "two numbers"
	}
	if t.Elem().Kind() == reflect.String {
		return "list of text"
	}
	return "list of " + docType(t.Elem()) + "s"
}

// Every key has its row in docs/configuration.md, with its type and, where Default sets it, its default; no row
// documents a key that is not there.
func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	rows := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:model|data|train|optim)\\.\\w+)` \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\|$").FindAllStringSubmatch(string(text), -1) {
		require.NotContains(t, rows, m[1], "documented twice")
		rows[m[1]] = m[2:]
	}
	def := reflect.ValueOf(*Default())
	for i := range def.NumField() {
		section, _ := tag(def.Type().Field(i))
		if section == "" {
			continue
		}
		for k := range def.Field(i).NumField() {
			field, v := def.Field(i).Type().Field(k), def.Field(i).Field(k)
			name, _ := tag(field)
			key := section + "." + name
			require.Contains(t, rows, key, "no row in docs/configuration.md")
			require.Equal(t, docType(field.Type), rows[key][0], "type of %s", key)
			if !v.IsZero() {
				want := fmt.Sprint(v.Interface())
				if v.Kind() == reflect.Array {
					want = fmt.Sprintf("[%v, %v]", v.Index(0), v.Index(1))
				}
				require.Equal(t, want, rows[key][1], "default of %s", key)
			}
			delete(rows, key)
		}
	}
	require.Empty(t, rows, "documented, but no such key")
}
