package launch

import (
	"encoding/json"
	"io"
	"time"

	"ringo/collective/control"
	"ringo/collective/view"
)

// journal writes who computed what: from it anyone can check that every sample was used once. A line says who was in a
// view, in ring order, or which steps a worker of this host completed in it with which lanes:
//
//	{"view":3,"workers":["a-1f/0","a-1f/1"]}
//	{"view":3,"worker":"a-1f/1","lanes":[8,16],"first":121,"last":180}
//
// A step that any worker completed has the lanes of all workers of its view in it. Steps in a row share a line, so that
// a long run writes little; a launcher that is killed loses at most journalEvery of them. Its methods work on nil.
type journal struct {
	w    io.Writer
	open map[string]*stretch // by worker
	err  error
}

// stretch is some steps in a row that one worker completed in one view.
type stretch struct {
	View   uint64 `json:"view"`
	Worker string `json:"worker"`
	Lanes  [2]int `json:"lanes"`
	First  int    `json:"first"`
	Last   int    `json:"last"`
	since  time.Time
}

// journalEvery is how long steps wait to be written.
const journalEvery = 10 * time.Second

func newJournal(w io.Writer) *journal {
	if w == nil {
		return nil
	}
	return &journal{w: w, open: map[string]*stretch{}}
}

func (j *journal) write(line any) {
	raw, err := json.Marshal(line)
	if err == nil && j.err == nil {
		_, j.err = j.w.Write(append(raw, '\n'))
	}
}

// view notes who is in a view.
func (j *journal) view(v view.View) {
	if j == nil {
		return
	}
	line := struct {
		View    uint64   `json:"view"`
		Workers []string `json:"workers"`
	}{View: v.Epoch, Workers: make([]string, 0, len(v.Workers))}
	for _, w := range v.Workers {
		line.Workers = append(line.Workers, w.ID)
	}
	j.write(line)
}

// step notes that a worker completed a step.
func (j *journal) step(worker string, p *control.Progress) {
	if j == nil {
		return
	}
	lanes := [2]int{p.LaneLo, p.LaneHi}
	s := j.open[worker]
	if s != nil && s.View == p.Epoch && s.Lanes == lanes && s.Last+1 == p.Step {
		s.Last = p.Step
		return
	}
	j.end(worker)
	j.open[worker] = &stretch{p.Epoch, worker, lanes, p.Step, p.Step, time.Now()}
}

// end writes what a worker did since its last line.
func (j *journal) end(worker string) {
	if j == nil || j.open[worker] == nil {
		return
	}
	j.write(j.open[worker])
	delete(j.open, worker)
}

// flush writes steps that have waited for long.
func (j *journal) flush(now time.Time) {
	if j == nil {
		return
	}
	for worker, s := range j.open {
		if now.Sub(s.since) >= journalEvery {
			j.end(worker)
		}
	}
}

// close writes what is left and returns the first error.
func (j *journal) close() error {
	if j == nil {
		return nil
	}
	for worker := range j.open {
		j.end(worker)
	}
	return j.err
}
