package config

import (
	"reflect"
	"sort"
	"strings"

	"github.com/goccy/go-yaml/parser"
)

// override sets one key from text such as "optim.lr" and "3e-4". Text fields take the text as it is;
// everything else is read as YAML.
func (d *decoder) override(dst any, key, text string) error {
	v := reflect.ValueOf(dst).Elem()
	path := ""
	for _, part := range strings.Split(key, ".") {
		if v.Kind() != reflect.Struct {
			return d.fail(nil, key, "%s has no keys below it", path)
		}
		f, ok := fieldOf(v, part)
		if !ok {
			return d.fail(nil, key, "unknown key%s", hint(part, v.Type()))
		}
		v, path = f, join(path, part)
	}
	d.where[key] = place{source: d.source}
	if v.Kind() == reflect.String {
		v.SetString(text)
		return nil
	}
	f, err := parser.ParseBytes([]byte(text), 0)
	if err != nil || len(f.Docs) != 1 || f.Docs[0].Body == nil {
		return d.fail(nil, key, "%q is no value", text)
	}
	if err := d.value(f.Docs[0].Body, v, key); err != nil {
		e := err.(*Error) // value returns no other
		e.Line, e.Caret = 0, ""
		return e
	}
	return nil
}

// sets applies --set arguments of the form a.b=v, in order.
func (d *decoder) sets(dst any, args []string) error {
	for _, arg := range args {
		key, text, ok := strings.Cut(arg, "=")
		d.source = "--set " + arg
		if !ok || key == "" {
			return &Error{Source: d.source, Msg: "expected the form section.key=value"}
		}
		if err := d.override(dst, key, text); err != nil {
			return err
		}
	}
	return nil
}

// environ applies variables RINGO_SECTION_KEY=value; those of other sections are left alone.
func (d *decoder) environ(dst any, env []string) error {
	env = append([]string(nil), env...)
	sort.Strings(env)
	t := reflect.TypeOf(dst).Elem()
	for _, kv := range env {
		name, text, _ := strings.Cut(kv, "=")
		rest, ok := strings.CutPrefix(name, "RINGO_")
		if !ok {
			continue
		}
		for _, section := range keysOf(t) {
			key, ok := strings.CutPrefix(strings.ToLower(rest), section+"_")
			if !ok {
				continue
			}
			d.source = "environment variable " + name
			if err := d.override(dst, section+"."+key, text); err != nil {
				return err
			}
		}
	}
	return nil
}
