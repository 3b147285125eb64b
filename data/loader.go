package data

import (
	"errors"
	"fmt"
	"sync"

	"ringo/runtime/tensor"
)

// LoaderConfig says which samples a loader reads and how far ahead.
type LoaderConfig struct {
	Seed     uint64
	Batch    int    // samples per step over all lanes
	Lanes    int    // equal parts of the batch, over all workers; 0 means 1
	LaneLo   int    // this worker owns lanes LaneLo … LaneHi−1; both zero means all
	LaneHi   int    //
	Sampling string // empty: what the data set prefers
	Prefetch int    // steps read ahead, default 2
	Workers  int    // goroutines that read, default 1
	Start    int64  // the step to read first
}

// ErrClosed is returned by Next after Close.
var ErrClosed = errors.New("data loader: closed")

// Loader reads the batches of this worker's lanes in the background. What is in a lane of a step depends on
// seed, step, lane and the data only (Order), never on workers, timing or the steps asked for before.
// Memory is allocated once: (Prefetch+1) × lanes × batch. Next is for one goroutine at a time.
type Loader struct {
	ds     Dataset
	window Windowed // not nil when random windows are drawn
	cfg    LoaderConfig
	order  Order
	rows   int
	fields []Field // of a lane's batch

	mu       sync.Mutex
	changed  sync.Cond // a batch was filled, a slot was freed, or the loader seeks or closes
	slots    []slot    // step s lives in slot s mod len(slots)
	first    int64     // the step the caller holds; slots serve first … first+len(slots)−1
	nextStep int64     // the next unit to be claimed by a reading goroutine
	nextLane int
	inflight int
	seeking  bool
	closed   bool
	wg       sync.WaitGroup
}

// slot holds one step's batches, one unit per owned lane.
type slot struct{ units []unit }

type unit struct {
	step   int64 // the step the buffers hold, −1 while none or being filled
	err    error
	fields [][]byte
}

// NewLoader starts to read ahead at cfg.Start. It returns an error for a configuration that cannot be.
func NewLoader(ds Dataset, cfg LoaderConfig) (*Loader, error) {
	if cfg.Lanes == 0 {
		cfg.Lanes = 1
	}
	if cfg.LaneLo == 0 && cfg.LaneHi == 0 {
		cfg.LaneHi = cfg.Lanes
	}
	if cfg.Sampling == "" {
		cfg.Sampling = ds.Info().Sampling
	}
	if cfg.Prefetch <= 0 {
		cfg.Prefetch = 2
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 1
	}
	l := &Loader{ds: ds, cfg: cfg, first: cfg.Start, nextStep: cfg.Start, nextLane: cfg.LaneLo}
	l.changed.L = &l.mu
	l.order = Order{Seed: cfg.Seed, Len: ds.Len(), Batch: cfg.Batch, Lanes: cfg.Lanes, Sampling: cfg.Sampling}
	if w, ok := ds.(Windowed); ok && cfg.Sampling == SampleRandom {
		l.window, l.order.Len = w, w.Offsets()
	}
	if err := l.order.Validate(); err != nil {
		return nil, err
	}
	if cfg.LaneLo < 0 || cfg.LaneLo >= cfg.LaneHi || cfg.LaneHi > cfg.Lanes {
		return nil, fmt.Errorf("data loader: lanes %d…%d of %d: expected a non-empty block inside", cfg.LaneLo, cfg.LaneHi, cfg.Lanes)
	}
	l.rows = cfg.Batch / cfg.Lanes
	l.fields = batched(ds.Fields(), l.rows)
	l.slots = make([]slot, cfg.Prefetch+1)
	for i := range l.slots {
		l.slots[i].units = make([]unit, cfg.LaneHi-cfg.LaneLo)
		for j := range l.slots[i].units {
			l.slots[i].units[j] = unit{step: -1, fields: newBuffers(l.fields)}
		}
	}
	l.wg.Add(cfg.Workers)
	for range cfg.Workers {
		go l.read()
	}
	return l, nil
}

// batched puts the number of rows in front of each field's shape.
func batched(fields []Field, rows int) []Field {
	out := make([]Field, len(fields))
	for k, f := range fields {
		out[k] = Field{f.Name, f.DType, append(tensor.Shape{rows}, f.Shape...)}
	}
	return out
}

func newBuffers(fields []Field) [][]byte {
	out := make([][]byte, len(fields))
	for k, f := range fields {
		out[k] = tensor.AlignedBytes(f.Bytes())
	}
	return out
}

// Fields describes what Next returns: the data set's fields with the lane's rows in front.
func (l *Loader) Fields() []Field { return l.fields }

// Next returns the batch of a lane this worker owns, field by field, raw and row-major. It is meant for
// steps in increasing order and lanes in any order; another order costs waiting but gives the same bytes.
// The buffers stay valid until Next is called with another step. It waits for the reading goroutine,
// allocates nothing, and returns the data set's error if reading failed.
func (l *Loader) Next(step int64, lane int) ([][]byte, error) {
	if step < 0 || lane < l.cfg.LaneLo || lane >= l.cfg.LaneHi {
		return nil, fmt.Errorf("data loader: step %d, lane %d: this loader owns lanes %d…%d from step 0 on", step, lane, l.cfg.LaneLo, l.cfg.LaneHi-1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case step == l.first:
	case step > l.first && step < l.first+int64(len(l.slots)):
		l.first = step
		l.changed.Broadcast()
	default:
		l.seek(step)
	}
	u := &l.slots[step%int64(len(l.slots))].units[lane-l.cfg.LaneLo]
	for u.step != step && !l.closed {
		l.changed.Wait()
	}
	if l.closed {
		return nil, ErrClosed
	}
	return u.fields, u.err
}

// seek drops what was read ahead and starts again at step. The lock is held.
func (l *Loader) seek(step int64) {
	l.seeking = true
	for l.inflight > 0 {
		l.changed.Wait()
	}
	for i := range l.slots {
		for j := range l.slots[i].units {
			l.slots[i].units[j].step = -1
		}
	}
	l.first, l.nextStep, l.nextLane = step, step, l.cfg.LaneLo
	l.seeking = false
	l.changed.Broadcast()
}

// Close stops the reading goroutines and waits for them; it is safe to call twice.
func (l *Loader) Close() error {
	l.mu.Lock()
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()
	l.wg.Wait()
	return nil
}

// read is the body of a reading goroutine: claim the next unit, fill it, mark it.
func (l *Loader) read() {
	defer l.wg.Done()
	rng := new(tensor.Philox)
	row := make([][]byte, len(l.fields))
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for !l.closed && (l.seeking || l.nextStep >= l.first+int64(len(l.slots))) {
			l.changed.Wait()
		}
		if l.closed {
			return
		}
		if l.nextStep < l.first { // the caller skipped steps
			l.nextStep, l.nextLane = l.first, l.cfg.LaneLo
		}
		step, lane := l.nextStep, l.nextLane
		if l.nextLane++; l.nextLane == l.cfg.LaneHi {
			l.nextStep, l.nextLane = step+1, l.cfg.LaneLo
		}
		u := &l.slots[step%int64(len(l.slots))].units[lane-l.cfg.LaneLo]
		u.step = -1
		l.inflight++
		l.mu.Unlock()
		err := l.fill(step, lane, u.fields, row, rng)
		l.mu.Lock()
		l.inflight--
		u.step, u.err = step, err
		l.changed.Broadcast()
	}
}

// fill reads one lane of one step into buf; row and rng are the goroutine's scratch.
func (l *Loader) fill(step int64, lane int, buf, row [][]byte, rng *tensor.Philox) error {
	for r := range l.rows {
		for k := range row {
			n := len(buf[k]) / l.rows
			row[k] = buf[k][r*n : (r+1)*n : (r+1)*n]
		}
		epoch, sample := l.order.At(step, lane, r)
		var err error
		if l.window != nil {
			err = l.window.ReadAt(sample, row)
		} else {
			*rng = augmentRNG(l.cfg.Seed, epoch, sample)
			err = l.ds.Read(sample, rng, row)
		}
		if err != nil {
			return fmt.Errorf("step %d, lane %d, row %d: %w", step, lane, r, err)
		}
	}
	return nil
}
