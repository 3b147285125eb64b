package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ringo/train/metrics"
)

// defaultOut is the folder of a run that names none: runs/NAME, after the configuration's file.
func defaultOut(file string) string {
	name := filepath.Base(file)
	return filepath.Join("runs", strings.TrimSuffix(name, filepath.Ext(name)))
}

// moveAside renames a folder that holds a run already: a new run does not mix with an old one.
func moveAside(e *env, out string) error {
	if !isRun(out) {
		return nil
	}
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.%d", strings.TrimRight(out, "/"), n)
		if _, err := os.Lstat(aside); err == nil {
			continue
		}
		if err := os.Rename(out, aside); err != nil {
			return err
		}
		fmt.Fprintf(e.err, "ringo: note: %s held a run already; it is %s now\n", out, aside)
		return nil
	}
}

func isRun(dir string) bool {
	for _, name := range []string{"config.yaml", "metrics.jsonl", "checkpoints"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// addFiles adds the sinks in a run's folder: metrics.jsonl, TensorBoard and the plot. done is the step that the run goes
// on from, all the number of its steps.
func addFiles(log *metrics.Log, out string, done, all int) error {
	file, history, err := metrics.OpenFile(filepath.Join(out, "metrics.jsonl"), done)
	if err != nil {
		return err
	}
	log.Add(file)
	tb, err := metrics.OpenTensorBoard(filepath.Join(out, "tensorboard"), done, time.Now)
	if err != nil {
		return err
	}
	log.Add(tb)
	log.Add(metrics.NewPlot(filepath.Join(out, "loss.png"), filepath.Base(out)+": loss", history, all-done))
	return nil
}

// addScreen adds what goes to standard output: JSON lines, a progress bar, or plain lines in a pipe.
func addScreen(e *env, log *metrics.Log, json bool) {
	switch {
	case json:
		log.Add(metrics.Lines{W: e.out})
	case e.terminal:
		log.Add(metrics.NewBar(e.out))
	default:
		log.Add(metrics.NewPlain(e.out, time.Now))
	}
}

// jobSinks takes the events of a job from its launcher. The screen shows them on every host; the host of the ring's
// first worker, which also saves checkpoints, writes the files of the run's folder.
type jobSinks struct {
	out    string
	screen *metrics.Log

	mu     sync.Mutex
	files  *metrics.Log // nil: another host writes them
	steps  int          // of the whole run, 0 before the start event
	step   int          // the newest that was said
	done   *metrics.Done
	sample string
	saved  string // the newest checkpoint
	err    error
}

func newJobSinks(e *env, out string, json bool) *jobSinks {
	s := &jobSinks{out: out, screen: metrics.NewLog()}
	addScreen(e, s.screen, json)
	return s
}

// event takes one line. first says that the ring's first worker runs on this host.
func (s *jobSinks) event(line []byte, first bool) {
	e, err := metrics.Decode(line)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.take(e, first)
	}
	if s.err == nil {
		s.err = err
	}
}

func (s *jobSinks) take(e metrics.Event, first bool) error {
	if start, ok := e.(*metrics.Start); ok {
		s.steps, s.step = start.Steps, start.Step
	}
	if s.steps == 0 {
		return nil // nothing comes before the start
	}
	err := s.place(first)
	switch e := e.(type) {
	case *metrics.Step:
		s.step = e.Step
	case *metrics.Done:
		s.done = e
	case *metrics.Sample:
		s.sample = e.Text
	case *metrics.Checkpoint:
		s.saved = e.Path
	}
	if s.files != nil {
		err = errors.Join(err, s.files.Emit(e))
	}
	return errors.Join(err, s.screen.Emit(e))
}

// place opens or closes the files when the ring's first worker comes to this host or leaves it.
func (s *jobSinks) place(first bool) error {
	switch {
	case first && s.files == nil:
		if err := os.MkdirAll(s.out, 0o777); err != nil {
			return err
		}
		s.files = metrics.NewLog()
		return addFiles(s.files, s.out, s.step, s.steps)
	case !first && s.files != nil:
		err := s.files.Close()
		s.files = nil
		return err
	}
	return nil
}

// close draws the plot and returns the first thing that went wrong.
func (s *jobSinks) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.screen.Close()
	if s.files != nil {
		err = errors.Join(err, s.files.Close())
		s.files = nil
	}
	return errors.Join(s.err, err)
}
