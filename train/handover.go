package train

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"

	"ringo/runtime/tensor"
)

// standing is what a worker says of its state when a view begins. The one that is furthest hands its state to those that
// differ: of two that did the same step the later view's counts, since in it the step may have been done again.
type standing struct {
	Run    string // hash of what must be the same on all workers
	Clean  bool   // a whole state; false on a worker whose hand-over was cut off
	Step   int    // done
	Paused int    // the last step whose evaluation and checkpoint are done
	Scored int    // the last step that was evaluated
	Epoch  uint64 // the view in which the step was done; 0 for a state of the worker's own making
	File   string // the checkpoint that the state's tensors are still to be read from, by its hashes; "" none
}

// behind reports whether s is an earlier state than o.
func (s standing) behind(o standing) bool {
	switch {
	case s.Clean != o.Clean:
		return o.Clean
	case s.Step != o.Step:
		return s.Step < o.Step
	case s.Paused != o.Paused:
		return s.Paused < o.Paused
	case s.Scored != o.Scored:
		return s.Scored < o.Scored
	}
	if s.Epoch != o.Epoch {
		return s.Epoch < o.Epoch
	}
	return s.File != "" && o.File == ""
}

// runHash is the hash of all that makes two workers' programs the same: configuration, data, layout.
func (t *Trainer) runHash() (string, error) {
	cfg := *t.cfg
	cfg.Train.Threads = 0 // may differ
	cfg.Model = t.Model.Config
	text, err := cfg.YAML()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", text, t.state.DataSHA256, t.device.Name())
	for _, x := range t.prog.Tensors {
		fmt.Fprintf(h, "%s %v\n", x.Name, x.Type)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// agree brings all workers of a new view to the state of the one that is furthest.
func (t *Trainer) agree() error {
	c := t.crew
	mine := standing{Run: t.hash, Clean: c.clean, Step: t.step, Paused: t.paused, Scored: t.scored, Epoch: t.stepEpoch, File: t.unread.id()}
	raw, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	all, err := c.Gather(raw)
	if err != nil {
		return lost{err}
	}
	donor, same := 0, true
	standings := make([]standing, len(all))
	for r, raw := range all {
		if err := json.Unmarshal(raw, &standings[r]); err != nil {
			return lost{fmt.Errorf("%s says nothing sensible of its state: %w", describe(c.view, r), err)}
		}
		if standings[donor].behind(standings[r]) {
			donor = r
		}
	}
	for r, s := range standings {
		if s.Run != standings[donor].Run && r == c.Rank() {
			return fmt.Errorf("this worker's configuration, data or device differs from that of %s, which is furthest: start every worker of a job with the same",
				describe(c.view, donor))
		}
		same = same && s == standings[donor]
	}
	if !standings[donor].Clean {
		return fmt.Errorf("no worker of view %d has a whole state: go on from the last checkpoint with --resume", c.view.Epoch)
	}
	switch {
	case standings[donor].File != "":
		return t.readTogether(standings, donor)
	case same:
		return nil
	}
	return t.handOver(donor, mine == standings[donor])
}

// handed is the part of the state beside the tensors.
type handed struct {
	State  State
	Step   int
	Paused int
	Scored int
	Epoch  uint64
	Score  wireScore
}

// wireScore is a Score whose numbers may be NaN, which JSON does not hold.
type wireScore struct {
	Loss, Accuracy, Perplexity jsonFloat
	Samples                    int
}

// jsonFloat is a float64 as its bits.
type jsonFloat uint64

func bitsOf(x float64) jsonFloat   { return jsonFloat(math.Float64bits(x)) }
func (f jsonFloat) value() float64 { return math.Float64frombits(uint64(f)) }

// handOver streams the donor's state to every worker around the ring, tensor by tensor, with a checksum at the end. A
// worker that has that state already reads along and keeps what it has: the bytes are the same. One that is a step behind
// takes the new state beside its own, in host memory, until all of it is there: should the donor die half-way, and
// be the only one who was that far, the job goes on from the step before.
func (t *Trainer) handOver(donor int, have bool) error {
	c := t.crew
	h, err := t.handHeader(donor)
	if err != nil {
		return err
	}
	beside := !have && c.clean && t.stepEpoch > 0
	if !have && !beside && t.unread == nil {
		c.clean = false
	}
	var arrived [][]byte // the state beside this worker's own, in the order of the program's tensors
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	_, host := t.store.(hostStore) // then raw is the tensor itself
	var scratch []byte
	for _, p := range t.prog.Tensors {
		var raw []byte
		if beside {
			raw = tensor.AlignedBytes(p.Type.Bytes())
			arrived = append(arrived, raw)
		} else if raw, err = readTensor(t.store, p.Name, p.Type.Bytes(), scratch); err != nil {
			return err
		}
		if err := c.Broadcast(donor, raw); err != nil {
			return lost{err}
		}
		sum.Write(raw)
		if host || beside {
			continue
		}
		scratch = raw
		if !have {
			if err := t.store.Write(p.Name, raw); err != nil {
				return err
			}
		}
	}
	return t.handCheck(donor, have, h, sum.Sum32(), arrived)
}

// handHeader sends or receives what goes before the tensors.
func (t *Trainer) handHeader(donor int) (*handed, error) {
	c := t.crew
	var raw []byte
	if c.Rank() == donor {
		s := t.state
		s.WallS += t.o.Now().Sub(t.begin).Seconds()
		var err error
		raw, err = json.Marshal(handed{State: s, Step: t.step, Paused: t.paused, Scored: t.scored, Epoch: t.stepEpoch,
			Score: wireScore{bitsOf(t.score.Loss), bitsOf(t.score.Accuracy), bitsOf(t.score.Perplexity), t.score.Samples}})
		if err != nil {
			return nil, err
		}
	}
	all, err := c.Gather(raw)
	if err != nil {
		return nil, lost{err}
	}
	h := &handed{}
	if err := json.Unmarshal(all[donor], h); err != nil {
		return nil, lost{fmt.Errorf("%s hands over a state without a header: %w", describe(c.view, donor), err)}
	}
	return h, nil
}

// handCheck compares the checksum and takes the new place in the run, with the tensors that arrived beside the old ones.
func (t *Trainer) handCheck(donor int, have bool, h *handed, sum uint32, arrived [][]byte) error {
	c := t.crew
	all, err := c.Gather(binary.LittleEndian.AppendUint32(nil, sum))
	if err != nil {
		return lost{err}
	}
	if len(all[donor]) != 4 || binary.LittleEndian.Uint32(all[donor]) != sum {
		return lost{fmt.Errorf("the state that %s handed over arrived with another checksum", describe(c.view, donor))}
	}
	if have {
		return nil
	}
	c.clean = false
	for i, raw := range arrived {
		if err := t.store.Write(t.prog.Tensors[i].Name, raw); err != nil {
			return err
		}
	}
	mine := t.state
	t.state = h.State
	t.state.Config = mine.Config
	t.begin = t.o.Now()
	t.step, t.paused, t.scored, t.stepEpoch = h.Step, h.Paused, h.Scored, h.Epoch
	t.score = Score{h.Score.Loss.value(), h.Score.Accuracy.value(), h.Score.Perplexity.value(), h.Score.Samples}
	c.clean = true
	err = t.unread.close()
	t.unread = nil
	return err
}
