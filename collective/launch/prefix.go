package launch

import (
	"bytes"
	"io"
	"sync"
)

// maxLine bounds a line of a worker's output; longer ones are cut in pieces.
const maxLine = 16 << 10

// output joins the lines of many writers without mixing them.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

// prefixed returns a writer whose lines begin with a prefix.
func (o *output) prefixed(prefix string) *lines { return &lines{o: o, prefix: prefix} }

// lines collects whole lines. Its methods may be called from one goroutine at a time.
type lines struct {
	o      *output
	prefix string
	rest   []byte
}

// Write never fails: a worker does not end because nobody reads its log.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		whole := i >= 0
		if !whole {
			i = len(b)
		}
		l.rest = append(l.rest, b[:i]...)
		for len(l.rest) > maxLine {
			l.put(l.rest[:maxLine])
			l.rest = append(l.rest[:0], l.rest[maxLine:]...)
		}
		if !whole {
			break
		}
		l.flush()
		b = b[i+1:]
	}
	return n, nil
}

// flush writes what is left as a line.
func (l *lines) flush() {
	l.put(l.rest)
	l.rest = l.rest[:0]
}

// Close writes a last line that has no end.
func (l *lines) Close() error {
	if len(l.rest) > 0 {
		l.flush()
	}
	return nil
}

func (l *lines) put(line []byte) {
	l.o.mu.Lock()
	defer l.o.mu.Unlock()
	out := make([]byte, 0, len(l.prefix)+len(line)+1)
	out = append(append(append(out, l.prefix...), line...), '\n')
	l.o.w.Write(out)
}
