package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/printer"
	"github.com/goccy/go-yaml/token"
)

// Error is a wrong configuration: which key, where it was written, and what is wrong with it.
type Error struct {
	Source string // file name, "--set optim.lr=…" or an environment variable
	Line   int    // 1-based; 0 where the key was not written anywhere
	Key    string // dotted path such as "optim.lr"; empty for bad syntax
	Msg    string
	Caret  string // the lines around the place with a caret under it; may be empty
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Source)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, ": %s", e.Key)
	}
	fmt.Fprintf(&b, ": %s", e.Msg)
	if e.Caret != "" {
		b.WriteString("\n" + strings.TrimRight(e.Caret, "\n"))
	}
	return b.String()
}

// decoder fills Go structs from a YAML tree and remembers where every key stood. It is stricter than
// yaml.Strict: 3.5 is no integer, 5 is no string, and a list for an array must have its length.
type decoder struct {
	source string
	where  map[string]place
}

// place is where a key's value was written.
type place struct {
	source string
	tok    *token.Token // nil for overrides, whose source says all
}

// document decodes a YAML text into dst, a pointer to a struct; keys that the text does not mention keep
// their values.
func (d *decoder) document(text []byte, dst any) error {
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		return d.syntax(err)
	}
	for i, doc := range f.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 {
			return d.fail(doc.Body.GetToken(), "", "a second document: expected one")
		}
		if err := d.value(doc.Body, reflect.ValueOf(dst).Elem(), ""); err != nil {
			return err
		}
	}
	return nil
}

// syntax turns the parser's error, which carries its own token, into ours.
func (d *decoder) syntax(err error) error {
	out := &Error{Source: d.source, Msg: err.Error()}
	if e, ok := err.(interface {
		GetToken() *token.Token
		GetMessage() string
	}); ok && e.GetToken() != nil {
		out.Line, out.Msg, out.Caret = e.GetToken().Position.Line, e.GetMessage(), caret(e.GetToken())
	}
	return out
}

func caret(t *token.Token) string {
	var p printer.Printer
	return p.PrintErrorToken(t, false)
}

func (d *decoder) fail(t *token.Token, key, format string, args ...any) error {
	e := &Error{Source: d.source, Key: key, Msg: fmt.Sprintf(format, args...)}
	if t != nil && t.Position != nil {
		e.Line, e.Caret = t.Position.Line, caret(t)
	}
	return e
}

// value decodes one node into v, whose key is path.
func (d *decoder) value(n ast.Node, v reflect.Value, path string) error {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		return d.fail(n.GetToken(), path, "anchors, aliases and tags are not part of a configuration")
	}
	if v.Kind() == reflect.Struct {
		return d.mapping(n, v, path)
	}
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Array {
		return d.sequence(n, v, path)
	}
	if msg := scalar(n, v); msg != "" {
		return d.fail(n.GetToken(), path, "%s", msg)
	}
	return nil
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, path string) error {
	if _, null := n.(*ast.NullNode); null {
		return nil // a section without keys
	}
	m, ok := n.(ast.MapNode)
	if !ok {
		return d.fail(n.GetToken(), path, "%s, expected a section of keys %s", describe(n), strings.Join(keysOf(v.Type()), ", "))
	}
	seen := map[string]bool{}
	for it := m.MapRange(); it.Next(); {
		key, tok := it.Key().String(), it.Key().GetToken()
		full := join(path, key)
		field, ok := fieldOf(v, key)
		if !ok {
			return d.fail(tok, full, "unknown key%s", hint(key, v.Type()))
		}
		if seen[key] {
			return d.fail(tok, full, "the key is given twice")
		}
		seen[key] = true
		if tok != nil {
			d.where[full] = place{d.source, it.Value().GetToken()}
		}
		if err := d.value(it.Value(), field, full); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) sequence(n ast.Node, v reflect.Value, path string) error {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return d.fail(n.GetToken(), path, "%s, expected a list", describe(n))
	}
	if v.Kind() == reflect.Array && len(seq.Values) != v.Len() {
		return d.fail(n.GetToken(), path, "a list of %d, expected %d", len(seq.Values), v.Len())
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	}
	for i, e := range seq.Values {
		if err := d.value(e, v.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

// scalar stores one plain value and returns what is wrong with it, or "".
func scalar(n ast.Node, v reflect.Value) string {
	bad := func(want string) string { return fmt.Sprintf("%s, expected %s", describe(n), want) }
	switch v.Kind() {
	case reflect.String:
		switch s := n.(type) {
		case *ast.StringNode:
			v.SetString(s.Value)
		case *ast.LiteralNode:
			v.SetString(s.Value.Value)
		default:
			return bad("text")
		}
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return bad("true or false")
		}
		v.SetBool(b.Value)
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint, reflect.Uint64, reflect.Uint32:
		return integer(n, v, bad)
	case reflect.Float64, reflect.Float32:
		f, ok := number(n)
		if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
			return bad("a number")
		}
		v.SetFloat(f)
	default:
		panic(fmt.Sprintf("config: a field of kind %v", v.Kind()))
	}
	return ""
}

func integer(n ast.Node, v reflect.Value, bad func(string) string) string {
	f, ok := number(n)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return bad("a whole number")
	}
	if v.CanUint() {
		if f < 0 || v.OverflowUint(uint64(f)) {
			return bad("a whole number, 0 or more")
		}
		v.SetUint(uint64(f))
		return ""
	}
	if v.OverflowInt(int64(f)) {
		return bad("a smaller whole number")
	}
	v.SetInt(int64(f))
	return ""
}

// number reads integers and floats; 1e3, which the parser may leave as text, counts too.
func number(n ast.Node) (float64, bool) {
	switch x := n.(type) {
	case *ast.IntegerNode:
		switch i := x.Value.(type) {
		case int64:
			return float64(i), true
		case uint64:
			return float64(i), true
		}
	case *ast.FloatNode:
		return x.Value, true
	case *ast.StringNode:
		if x.Token.Type == token.StringType { // not quoted
			f, err := strconv.ParseFloat(x.Value, 64)
			return f, err == nil
		}
	}
	return 0, false
}

// describe names what was found, with the text where it is short.
func describe(n ast.Node) string {
	switch x := n.(type) {
	case *ast.NullNode:
		return "no value"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a section"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return fmt.Sprintf("text %q", x.Value)
	}
	return n.String()
}
