package metrics

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar is the sink that shows a progress bar with loss, rate and time left on a terminal.
type Bar struct {
	w    io.Writer
	bar  *progressbar.ProgressBar
	val  float64
	text string
}

// NewBar returns a sink that draws on w, a terminal.
func NewBar(w io.Writer) *Bar { return &Bar{w: w, val: math.NaN()} }

// Event moves the bar, and prints what is worth keeping above it.
func (s *Bar) Event(e Event, _ []byte) error {
	switch e := e.(type) {
	case *Start:
		s.bar = progressbar.NewOptions(e.Steps,
			progressbar.OptionSetWriter(s.w),
			progressbar.OptionSetWidth(24),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionShowCount(),
			progressbar.OptionSetElapsedTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "", BarEnd: ""}))
		if _, err := fmt.Fprintln(s.w, opening(e)); err != nil {
			return err
		}
		return s.bar.Set(e.Step)
	case *Step:
		s.text = fmt.Sprintf("loss %.4f", e.Loss)
		if !math.IsNaN(s.val) {
			s.text += fmt.Sprintf("  val %.4f", s.val)
		}
		s.bar.Describe(fmt.Sprintf("%s  %s %s/s", s.text, Group(e.Rate), e.Unit))
		return s.bar.Set(e.Step)
	case *Eval:
		s.val = e.ValLoss
		return s.above(scores(e))
	case *Sample, *Done:
		return s.bar.Clear()
	}
	return nil
}

func (s *Bar) above(text string) error {
	if err := s.bar.Clear(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(s.w, text)
	return err
}

// Close leaves the terminal with a clean line.
func (s *Bar) Close() error {
	if s.bar == nil {
		return nil
	}
	return s.bar.Clear()
}

// Plain is the sink that writes lines for people where there is no terminal: the first step, then at most
// one line every gap, and every evaluation.
type Plain struct {
	w     io.Writer
	now   func() time.Time
	gap   time.Duration
	steps int
	next  time.Time
}

// NewPlain returns a sink that writes to w; now is the clock.
func NewPlain(w io.Writer, now func() time.Time) *Plain {
	return &Plain{w: w, now: now, gap: 2 * time.Second}
}

// Event prints a line where it is time for one.
func (s *Plain) Event(e Event, _ []byte) error {
	text := ""
	switch e := e.(type) {
	case *Start:
		s.steps = e.Steps
		text = opening(e)
	case *Step:
		now := s.now()
		if now.Before(s.next) && e.Step < s.steps {
			return nil
		}
		s.next = now.Add(s.gap)
		left := time.Duration(float64(s.steps-e.Step) * e.StepMS * float64(time.Millisecond)).Round(time.Second)
		text = fmt.Sprintf("step %6d/%d  loss %.4f  lr %.2e  %.1f ms/step  %s %s/s  %v left", e.Step, s.steps, e.Loss, e.LR, e.StepMS, Group(e.Rate), e.Unit, left)
	case *Eval:
		text = scores(e)
	default:
		return nil
	}
	_, err := fmt.Fprintln(s.w, text)
	return err
}

// Close does nothing; the writer belongs to the caller.
func (s *Plain) Close() error { return nil }

func opening(e *Start) string {
	text := fmt.Sprintf("%s, %s parameters, %s; %s; %s", e.Model, Group(float64(e.Params)), e.Precision, e.Device, e.Data)
	if e.Step > 0 {
		text += fmt.Sprintf("; going on after step %d", e.Step)
	}
	return text
}

func scores(e *Eval) string {
	text := fmt.Sprintf("step %6d  validation loss %.4f", e.Step, e.ValLoss)
	if !math.IsNaN(e.Accuracy) {
		text += fmt.Sprintf("  accuracy %.2f %%", 100*e.Accuracy)
	}
	if !math.IsNaN(e.Perplexity) {
		text += fmt.Sprintf("  perplexity %.3f", e.Perplexity)
	}
	if e.Best {
		text += "  (best)"
	}
	return text
}

// Group writes a whole number with commas between thousands.
func Group(x float64) string {
	digits := strconv.FormatInt(int64(math.Round(math.Abs(x))), 10)
	var b strings.Builder
	if x < 0 {
		b.WriteByte('-')
	}
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}
