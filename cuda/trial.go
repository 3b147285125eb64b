//go:build cuda

package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/kernels"
	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// trialRuns is how often each version is timed.
const trialRuns = 5

// trialTolerance is how far results may be from the first version's, by their largest magnitude: two roundings to bf16.
const trialTolerance = 2.0 / 256

// trial is one call on memory of its own, by each of its versions.
type trial struct {
	d       *device
	memory  []uint64
	in, out []kernels.DeviceView
	lists   []*binder
}

// try runs every version on random numbers and returns the fastest of those whose results agree with the first one's, and what was
// found of all.
func (d *device) try(c *kernels.DeviceCall, v *kernels.Versions) (best int, why string, err error) {
	t := &trial{d: d}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.prepare(c, v); err != nil {
		return 0, "", err
	}
	var want [][]byte
	wrong, times := make([]string, len(v.List)), make([]time.Duration, len(v.List))
	for i, version := range v.List {
		got, err := t.results(i)
		if err != nil {
			return 0, "", fmt.Errorf("%s: %w", version.Name, err)
		}
		if want == nil {
			want = got
		}
		times[i], wrong[i] = math.MaxInt64, t.differ(want, got)
	}
	if err := t.time(wrong, times); err != nil {
		return 0, "", err
	}
	var said []string
	for i, version := range v.List {
		if wrong[i] != "" {
			said = append(said, version.Name+" is wrong: "+wrong[i])
			continue
		}
		said = append(said, fmt.Sprintf("%s %.3g ms", version.Name, times[i].Seconds()*1e3))
		if times[i] < times[best] {
			best = i
		}
	}
	return best, strings.Join(said, ", "), nil
}

// time measures the versions that are right, in turn, after as much work as lets an idle GPU's clocks rise; the least counts.
func (t *trial) time(wrong []string, times []time.Duration) error {
	for start := time.Now(); !t.d.soft && time.Since(start) < riseTime; {
		if _, err := t.run(0); err != nil {
			return err
		}
	}
	for range trialRuns {
		for i := range times {
			if wrong[i] != "" {
				continue
			}
			took, err := t.run(i)
			if err != nil {
				return err
			}
			times[i] = min(times[i], took)
		}
	}
	return nil
}

// room reports whether there is memory for a trial, with as much again for scratch.
func (d *device) room(t *kernels.Trial) bool {
	bytes := int64(0)
	for _, x := range slices.Concat(t.In, t.Out) {
		bytes += int64(x.Bytes())
	}
	free, _, err := cu.MemInfo()
	return err == nil && 2*bytes <= free
}

// prepare takes memory, fills inputs and binds every version.
func (t *trial) prepare(c *kernels.DeviceCall, v *kernels.Versions) (err error) {
	if t.in, err = t.views(v.Trial.In); err != nil {
		return err
	}
	if t.out, err = t.views(v.Trial.Out); err != nil {
		return err
	}
	for i, x := range t.in {
		if err := t.d.move(x.Ptr, randomBytes(x.Type, uint64(i)), true); err != nil {
			return err
		}
	}
	if v.Trial.Before != nil {
		list, err := t.bind(v.Trial.Before(t.in), 0)
		if err != nil {
			return err
		}
		defer list.close()
		if err := list.commands.Run(0, list.commands.Len(), t.d.ctx, t.d.compute); err != nil {
			return err
		}
		if err := t.d.compute.Synchronize(); err != nil {
			return err
		}
	}
	for i := range v.List {
		call := &kernels.DeviceCall{Op: c.Op, Attrs: c.Attrs, In: t.in, Out: t.out, Precision: c.Precision}
		list, err := t.bind(call, i)
		if err != nil {
			return err
		}
		t.lists = append(t.lists, list)
	}
	return nil
}

// bind describes a call by one version: once to count its scratch memory, then into a list.
func (t *trial) bind(c *kernels.DeviceCall, version int) (*binder, error) {
	count := &binder{d: t.d, scratch: uint64(1) << 50, trying: version + 1}
	c.Device, c.Queue = t.d.info, count
	if err := kernels.BindDevice(c); err != nil {
		return nil, err
	}
	scratch, err := t.take(count.peak)
	if err != nil {
		return nil, err
	}
	list := &binder{d: t.d, commands: &driver.Commands{}, scratch: scratch, trying: version + 1}
	c.Queue = list
	if err := kernels.BindDevice(c); err != nil {
		list.close()
		return nil, err
	}
	return list, nil
}

func (t *trial) take(bytes int64) (uint64, error) {
	p, err := t.d.allocate(bytes, false)
	if p != 0 {
		t.memory = append(t.memory, p)
	}
	return p, err
}

func (t *trial) views(types []graph.Type) (out []kernels.DeviceView, err error) {
	for _, x := range types {
		p, err := t.take(int64(x.Bytes()))
		if err != nil {
			return nil, err
		}
		out = append(out, kernels.DeviceView{Type: x, Ptr: p})
	}
	return out, nil
}

// run waits for one run of a version and returns how long it took.
func (t *trial) run(i int) (time.Duration, error) {
	start, list := time.Now(), t.lists[i].commands
	err := list.Run(0, list.Len(), t.d.ctx, t.d.compute)
	err = errors.Join(err, t.d.compute.Synchronize()) // before the clock is read: until here it was only enqueued
	return time.Since(start), err
}

// results returns what a version writes over outputs that were NaN.
func (t *trial) results(i int) (out [][]byte, err error) {
	for _, x := range t.out {
		nan := slices.Repeat([]byte{0xff}, x.Bytes())
		if err := t.d.move(x.Ptr, nan, true); err != nil {
			return nil, err
		}
	}
	if _, err := t.run(i); err != nil {
		return nil, err
	}
	for _, x := range t.out {
		raw := make([]byte, x.Bytes())
		if err := t.d.move(x.Ptr, raw, false); err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}

// differ says where results are further from the first version's than rounding explains, or nothing. NaN is.
func (t *trial) differ(want, got [][]byte) string {
	for i, x := range t.out {
		at := reader(x.DType)
		largest, worst, place := 0.0, 0.0, 0
		for e := range x.Shape.Size() {
			a, b := float64(at(want[i], e)), float64(at(got[i], e))
			largest = max(largest, math.Abs(a))
			if d := math.Abs(a - b); !(d <= worst) {
				worst, place = d, e
			}
			if worst != worst {
				return fmt.Sprintf("element %d of output %d is %.3g, not %.3g", e, i, b, a)
			}
		}
		if worst > trialTolerance*largest {
			return fmt.Sprintf("element %d of output %d is off by %.3g, its largest is %.3g", place, i, worst, largest)
		}
	}
	return ""
}

// reader returns what reads element i of bf16 or f32.
func reader(t tensor.DType) func(raw []byte, i int) float32 {
	if t == tensor.BF16 {
		return func(raw []byte, i int) float32 {
			return math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
		}
	}
	return func(raw []byte, i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])) }
}

// randomBytes returns numbers of [−1,1), a stretch of them over and over, of a length that no tensor's rows divide.
func randomBytes(t graph.Type, stream uint64) []byte {
	const stretch = 65521
	numbers, rng := make([]float64, stretch), tensor.NewPhilox(11, stream)
	for i := range numbers {
		numbers[i] = 2*float64(tensor.Unit(rng.Next()[0])) - 1
	}
	once, raw := make([]byte, stretch*t.DType.Size()), make([]byte, t.Bytes())
	tensor.StoreFloat64(once, t.DType, numbers)
	for at := 0; at < len(raw); at += len(once) {
		copy(raw[at:], once)
	}
	return raw
}

func (t *trial) close() error {
	var errs []error
	for _, list := range t.lists {
		list.close()
	}
	for _, p := range t.memory {
		errs = append(errs, t.d.free(p))
	}
	return errors.Join(errs...)
}
