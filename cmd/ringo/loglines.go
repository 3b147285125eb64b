package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// lines is the slog handler of commands that run for long: a line for people, "ringo: message key=value".
type lines struct {
	mu    *sync.Mutex
	w     io.Writer
	level slog.Level
	attrs string
}

func newLines(w io.Writer, debug bool) *lines {
	level := slog.LevelInfo
	if debug {
		level = slog.LevelDebug
	}
	return &lines{mu: new(sync.Mutex), w: w, level: level}
}

// Enabled reports whether records of a level are shown.
func (h *lines) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// Handle writes one record.
func (h *lines) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString("ringo: ")
	if r.Level >= slog.LevelWarn {
		b.WriteString("warning: ")
	}
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool { attr(&b, a); return true })
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

func attr(b *strings.Builder, a slog.Attr) {
	v := a.Value.Resolve().String()
	if strings.ContainsAny(v, " \n\"") {
		v = fmt.Sprintf("%q", v)
	}
	fmt.Fprintf(b, " %s=%s", a.Key, v)
}

// WithAttrs returns a handler that adds attributes to every record.
func (h *lines) WithAttrs(list []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range list {
		attr(&b, a)
	}
	c := *h
	c.attrs += b.String()
	return &c
}

// WithGroup returns the handler itself: lines for people have no groups.
func (h *lines) WithGroup(string) slog.Handler { return h }
