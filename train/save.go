package train

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"

	"ringo/export/safetensors"
	"ringo/internal/files"
	"ringo/internal/memory"
	"ringo/train/checkpoint"
	"ringo/train/metrics"
)

// saving is a checkpoint on its way to the disk while training goes on.
type saving struct {
	done chan struct{} // closed when the fields below are set
	c    *checkpoint.Checkpoint
	err  error
}

// Save writes a checkpoint of the run as it stands. Workers of a job take turns: one that was counted out may not
// know it yet.
func (t *Trainer) Save() (c *checkpoint.Checkpoint, err error) {
	if t.saver == nil {
		return nil, errors.New("train: a run without a folder keeps no checkpoints")
	}
	if err := t.saved(true); err != nil {
		return nil, err
	}
	parts, _, err := t.parts()
	if err != nil {
		return nil, err
	}
	return t.write(t.step, parts, t.isBest(), func() {})
}

// save is Save with the event of it.
func (t *Trainer) save() (*checkpoint.Checkpoint, error) {
	c, err := t.Save()
	if err != nil {
		return nil, err
	}
	return c, t.emit(&metrics.Checkpoint{Step: c.Step, Path: c.Dir})
}

// saveBehind copies what a checkpoint holds and writes it while the next steps run, where there is memory for the copy; the event
// follows when the checkpoint is complete. The one before it is waited for: there is one copy.
func (t *Trainer) saveBehind() error {
	if err := t.saved(true); err != nil {
		return err
	}
	parts, sizes, err := t.parts()
	if err != nil {
		return err
	}
	if !t.roomForCopy(sizes) {
		_, err := t.save()
		return err
	}
	for i := range t.copies {
		c := &t.copies[i]
		*c = (*c)[:0]
		if err := parts[i].Write(c); err != nil {
			return err
		}
		parts[i].Write = func(dst io.Writer) error { _, err := dst.Write(*c); return err }
	}
	s, turn := &saving{done: make(chan struct{})}, make(chan struct{})
	step, best := t.step, t.isBest()
	go func() {
		s.c, s.err = t.write(step, parts, best, func() { close(turn) })
		close(s.done)
	}()
	t.behind = s
	select { // who has its turn keeps it: a worker of a later view saves after this one
	case <-turn:
	case <-s.done:
	}
	return nil
}

// saved emits the event of the checkpoint that was on its way, where it is complete, or returns why it could not be written. wait
// makes it wait for that.
func (t *Trainer) saved(wait bool) error {
	s := t.behind
	if s == nil {
		return nil
	}
	if !wait {
		select {
		case <-s.done:
		default:
			return nil
		}
	}
	<-s.done
	t.behind = nil
	if s.err != nil {
		return s.err
	}
	return t.emit(&metrics.Checkpoint{Step: s.c.Step, Path: s.c.Dir})
}

// settled waits for the checkpoint on its way and adds its error to the one of the run.
func (t *Trainer) settled(err error) error {
	if failed := t.saved(true); failed != nil {
		return errors.Join(err, failed)
	}
	return err
}

// roomForCopy makes room for copies of these sizes, where that takes no more than half of the memory that is left.
func (t *Trainer) roomForCopy(sizes [2]int) bool {
	if cap(t.copies[0]) >= sizes[0] && cap(t.copies[1]) >= sizes[1] {
		return true
	}
	left, ok := memory.Available()
	if ok && int64(sizes[0]+sizes[1]) > left/2 {
		return false
	}
	for i, n := range sizes {
		t.copies[i] = make([]byte, 0, n)
	}
	return true
}

// inMemory is a file in memory: Write appends.
type inMemory []byte

// copyPiece is what one goroutine copies at a time: one core alone does not use all of the memory's bandwidth.
const copyPiece = 8 << 20

func (m *inMemory) Write(p []byte) (int, error) {
	at := len(*m)
	*m = slices.Grow(*m, len(p))[:at+len(p)]
	var wg sync.WaitGroup
	for to := (*m)[at:]; len(p) > 0; {
		n := min(len(p), copyPiece)
		dst, src := to[:n], p[:n]
		if to, p = to[n:], p[n:]; len(p) == 0 {
			copy(dst, src)
		} else {
			wg.Go(func() { copy(dst, src) })
		}
	}
	wg.Wait()
	return len(*m) - at, nil
}

// parts lists a checkpoint's files as of now: the two with tensors, of at most these sizes, then state.json.
func (t *Trainer) parts() (parts []files.Part, sizes [2]int, err error) {
	text, err := t.Resolved()
	if err != nil {
		return nil, sizes, err
	}
	s := t.state
	s.Step, s.Config = t.step, string(text)
	s.WallS += t.o.Now().Sub(t.begin).Seconds()
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, sizes, err
	}
	meta := map[string]string{"format": "pt"} // what transformers and others look for
	model := weightsOf(t.store, t.Model, t.prog.Graph, t.averaged()).items()
	optimizer := optimizerItems(t.store, optimizerTensors(t.prog, t.averaged()))
	return []files.Part{
		{Name: modelFile, Write: func(dst io.Writer) error { return safetensors.Write(dst, meta, model) }},
		{Name: optimizerFile, Write: func(dst io.Writer) error { return safetensors.Write(dst, nil, optimizer) }},
		{Name: stateFile, Write: func(dst io.Writer) error { _, err := dst.Write(append(raw, '\n')); return err }},
	}, [2]int{fileBytes(model), fileBytes(optimizer)}, nil
}

// fileBytes is more than a file of these tensors takes, by what their names and shapes leave of room for them.
func fileBytes(items []safetensors.Item) int {
	const header = 1 << 12
	n := header
	for _, it := range items {
		n += header/16 + len(it.Name) + it.Shape.Size()*it.DType.Size()
	}
	return n
}

// write brings a checkpoint to the disk; turn is called when nobody else may write there any more.
func (t *Trainer) write(step int, parts []files.Part, best bool, turn func()) (c *checkpoint.Checkpoint, err error) {
	do := func() error {
		turn()
		c, err = t.saver.Save(step, parts)
		if err == nil && best {
			err = t.saver.Best(step)
		}
		return err
	}
	if t.crew == nil {
		return c, do()
	}
	return c, t.saver.Exclusive(do)
}

// isBest reports whether the run keeps its best checkpoint, as early stopping does, and that of this step is it.
func (t *Trainer) isBest() bool {
	return t.cfg.Train.EarlyStop > 0 && t.state.BestStep == t.step && t.step > 0
}
