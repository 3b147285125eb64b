package train

import (
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"ringo/export/safetensors"
	"ringo/train/checkpoint"
)

// source is a checkpoint whose tensors are to be read.
type source struct {
	*checkpoint.Checkpoint
	files []*safetensors.File
	parts parts
}

// openSource opens a checkpoint's files and checks that they fit the program.
func (t *Trainer) openSource(c *checkpoint.Checkpoint) (*source, error) {
	w := weightsOf(t.store, t.Model, t.prog.Graph, t.averaged())
	model, all, err := w.open(c.Path(modelFile))
	if err != nil {
		return nil, err
	}
	s := &source{c, []*safetensors.File{model}, all}
	optimizer, more, err := openOptimizer(c.Path(optimizerFile), t.prog, t.averaged())
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.files = append(s.files, optimizer)
	for name, p := range more {
		s.parts[name] = p
	}
	return s, nil
}

// close works on nil, too.
func (s *source) close() error {
	if s == nil {
		return nil
	}
	var err error
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// id is the same for equal tensors, "" for nil.
func (s *source) id() string {
	if s == nil {
		return ""
	}
	return s.Files[modelFile].SHA256 + " " + s.Files[optimizerFile].SHA256
}

// Resume continues from a checkpoint: afterwards the run is where the saved one was, bit for bit. Notes are
// differences that a person should know of. A worker of a job notes only where it will go on: all read the tensors
// together when they meet (readTogether).
func (t *Trainer) Resume(path string) (notes []string, err error) {
	var hashed []string // all files
	if t.crew != nil {
		hashed = []string{stateFile}
	}
	c, s, err := openState(path, hashed...)
	if err != nil {
		return nil, err
	}
	from, err := t.openSource(c)
	if err != nil {
		return nil, err
	}
	if t.crew != nil {
		t.unread = from
	} else if err := errors.Join(from.parts.into(t.store), from.close()); err != nil {
		return nil, err
	}
	if s.Seed != t.cfg.Train.Seed {
		notes = append(notes, fmt.Sprintf("train.seed is %d, the checkpoint's run had %d: samples and dropout differ from it from here on", t.cfg.Train.Seed, s.Seed))
	}
	if s.DataSHA256 != t.state.DataSHA256 {
		notes = append(notes, "the data set differs from the one the checkpoint was trained on")
	}
	t.step = s.Step
	t.state.BestLoss, t.state.BestStep, t.state.BadEvals, t.state.LastLoss, t.state.WallS = s.BestLoss, s.BestStep, s.BadEvals, s.LastLoss, s.WallS
	t.begin, t.paused = t.o.Now(), s.Step
	return notes, t.dropLoader()
}

// readTogether gives the tensors of a checkpoint to all workers. Those that found it hash a part of its files and read a part
// of its tensors each, and send what they read to all: a file system that all share delivers every tensor once.
func (t *Trainer) readTogether(all []standing, donor int) error {
	c := t.crew
	h, err := t.handHeader(donor)
	if err != nil {
		return err
	}
	var readers []int
	for r, s := range all {
		if s == all[donor] {
			readers = append(readers, r)
		}
	}
	if err := t.vouch(readers); err != nil {
		return err
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	_, host := t.store.(hostStore) // then raw is the tensor itself
	var scratch []byte
	for i, p := range t.prog.Tensors {
		raw, err := readTensor(t.store, p.Name, p.Type.Bytes(), scratch)
		if err != nil {
			return err
		}
		reader := readers[i%len(readers)]
		if reader == c.Rank() {
			if x, ok := t.unread.parts[p.Name]; ok {
				if err := x.read(raw); err != nil {
					return err
				}
			}
		}
		if err := c.Broadcast(reader, raw); err != nil {
			return lost{err}
		}
		sum.Write(raw)
		if host {
			continue
		}
		scratch = raw
		if err := t.store.Write(p.Name, raw); err != nil {
			return err
		}
	}
	return t.handCheck(donor, false, h, sum.Sum32(), nil)
}

// vouch hashes the checkpoint's files, each on one of the workers that read it, and fails on all workers where one of them is
// damaged.
func (t *Trainer) vouch(readers []int) error {
	var mine []byte
	at := slices.Index(readers, t.crew.Rank())
	for i, name := range []string{modelFile, optimizerFile} {
		if i%len(readers) != at {
			continue
		}
		if _, err := checkpoint.Open(t.unread.Dir, name); err != nil {
			mine = fmt.Append(mine, err)
			break
		}
	}
	all, err := t.crew.Gather(mine)
	if err != nil {
		return lost{err}
	}
	for _, why := range all {
		if len(why) > 0 {
			return errors.New(string(why))
		}
	}
	return nil
}
