package metrics

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"ringo/internal/files"
)

// Sink receives events. line is the event's JSON with a line end, valid during the call only.
type Sink interface {
	Event(e Event, line []byte) error
	Close() error
}

// Log hands every event to every sink. It is not safe for concurrent use.
type Log struct {
	sinks []Sink
	buf   []byte
}

// NewLog returns a log that writes to sinks, in order.
func NewLog(sinks ...Sink) *Log { return &Log{sinks: sinks, buf: make([]byte, 0, 1<<12)} }

// Add adds a sink.
func (l *Log) Add(s Sink) { l.sinks = append(l.sinks, s) }

// Emit sends an event. A sink that fails does not keep the others from it.
func (l *Log) Emit(e Event) error {
	l.buf = append(e.AppendJSON(l.buf[:0]), '\n')
	var err error
	for _, s := range l.sinks {
		if failed := s.Event(e, l.buf); failed != nil {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// Close closes every sink.
func (l *Log) Close() error {
	var err error
	for _, s := range l.sinks {
		err = errors.Join(err, s.Close())
	}
	return err
}

// Lines is the sink that writes JSON lines to w, such as standard output for --json.
type Lines struct{ W io.Writer }

// Event writes the line at once: a reader may follow it.
func (s Lines) Event(_ Event, line []byte) error { _, err := s.W.Write(line); return err }

// Close does nothing; the writer belongs to the caller.
func (s Lines) Close() error { return nil }

// File is the sink of metrics.jsonl.
type File struct{ f *os.File }

// OpenFile opens metrics.jsonl. For a run that goes on after step, 0 for a new one, it drops the events of
// later steps (they belong to work that is done again) and a torn last line, and returns what is left to
// the sinks that show history. The file changes whole or not at all.
func OpenFile(path string, step int) (*File, []Point, error) {
	if step == 0 {
		f, err := os.Create(path)
		return &File{f}, nil, err
	}
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, err
	}
	keep, history := upTo(raw, step)
	write := func(w io.Writer) error { _, err := w.Write(keep); return err }
	if err := files.Write(files.OS{}, filepath.Dir(path), files.Part{Name: filepath.Base(path), Write: write}); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	return &File{f}, history, err
}

// Point is what an earlier part of a run says about a step.
type Point struct {
	Event   string   `json:"event"`
	Step    int      `json:"step"`
	Loss    *float64 `json:"loss"`
	ValLoss *float64 `json:"val_loss"`
}

// upTo returns the whole lines of events up to step, and those with numbers to plot.
func upTo(raw []byte, step int) (keep []byte, points []Point) {
	s := bufio.NewScanner(bytes.NewReader(raw))
	s.Buffer(nil, len(raw)+1)
	for s.Scan() {
		var p Point
		if json.Unmarshal(s.Bytes(), &p) != nil || p.Step > step || p.Event == "done" {
			continue
		}
		keep = append(append(keep, s.Bytes()...), '\n')
		if (p.Event == "step" && p.Loss != nil) || (p.Event == "eval" && p.ValLoss != nil) {
			points = append(points, p)
		}
	}
	return keep, points
}

// Event appends the line.
func (s *File) Event(_ Event, line []byte) error {
	if _, err := s.f.Write(line); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// Close syncs and closes the file.
func (s *File) Close() error { return errors.Join(s.f.Sync(), s.f.Close()) }
