//go:build cuda

package cuda

import (
	"unsafe"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/kernels"
	"ringo/runtime/backend"
	"ringo/runtime/plan"
	"ringo/runtime/tensor"
)

// laneKey is a range of a partial sum.
type laneKey struct{ level, from, to int }

// bindLanes describes saving every level: command k saves level k. Adding is described at the first use of a range.
func (e *exec) bindLanes() error {
	e.lanes = &binder{d: e.d, commands: &driver.Commands{}}
	e.adds = map[laneKey]int{}
	for k := range levels(e.p) {
		e.lanes.Copy(e.partial(k), e.grad, e.p.Sizes[plan.Grad])
	}
	return nil
}

// partial is where partial sum k lies.
func (e *exec) partial(k int) uint64 { return e.partials + uint64(int64(k)*e.p.Sizes[plan.Grad]) }

// adding returns the command that adds a range of a partial sum to the gradient.
func (e *exec) adding(k laneKey) (int, error) {
	if at, ok := e.adds[k]; ok {
		return at, nil
	}
	const threads = 256
	at, n, skip := e.lanes.commands.Len(), int64(k.to-k.from), uint64(4*k.from)
	call := &kernels.DeviceCall{Device: e.d.info, Queue: e.lanes}
	err := call.Launch("lanes_add", call.Strided((n+3)/4, threads), kernels.Block(threads), 0, e.partial(k.level)+skip, e.grad+skip, n)
	if err == nil {
		e.adds[k] = at
	}
	return at, err
}

func (e *exec) Gradient() backend.Gradient { return e }

// Len is the number of elements of the Grad region.
func (e *exec) Len() int { return int(e.p.Sizes[plan.Grad] / 4) }

// Save and Add enqueue; an error is returned by the next call that returns one.
func (e *exec) Save(level int) { e.lane(func() (int, error) { return level, nil }) }

func (e *exec) Add(level, from, to int) {
	if from < to {
		e.lane(func() (int, error) { return e.adding(laneKey{level, from, to}) })
	}
}

func (e *exec) lane(command func() (int, error)) {
	if e.err != nil || e.Len() == 0 {
		return
	}
	if e.err = e.d.enter(); e.err != nil {
		return
	}
	defer e.d.leave()
	at, err := command()
	if err == nil {
		err = e.lanes.commands.Run(at, at+1, e.d.ctx, e.d.compute)
	}
	e.err = e.d.fault(err)
}

// Host copies a range of the gradient to page-locked memory and waits for it.
func (e *exec) Host(from, to int) ([]float32, error) {
	if e.err != nil || from == to {
		return nil, e.err
	}
	if err := e.d.enter(); err != nil {
		return nil, err
	}
	defer e.d.leave()
	if e.host == nil {
		var err error
		if e.host, err = driver.NewPinned(e.p.Sizes[plan.Grad]); err != nil {
			return nil, err
		}
	}
	raw := e.host.Bytes[4*from : 4*to : 4*to]
	return tensor.View[float32](raw), e.d.move(e.grad+uint64(4*from), raw, false)
}

// Commit copies a range of the host's gradient back, in the order of the compute stream.
func (e *exec) Commit(from, to int) error {
	if e.err != nil || e.host == nil || from == to {
		return e.err
	}
	if err := e.d.enter(); err != nil {
		return err
	}
	defer e.d.leave()
	raw := e.host.Bytes[4*from : 4*to]
	return e.d.fault(cu.MemcpyHtoDAsync(cu.DevicePtr(e.grad+uint64(4*from)), unsafe.Pointer(unsafe.SliceData(raw)), int64(len(raw)), e.d.compute))
}
