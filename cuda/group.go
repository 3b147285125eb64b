//go:build cuda

package cuda

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gorgonia.org/cu"

	"ringo/cuda/nccl"
	"ringo/cuda/soft"
	"ringo/runtime/backend"
	"ringo/runtime/tensor"
)

// group sums gradients over processes by NCCL, on a stream beside the compute stream:
//
//	compute  …backward──record ready──backward goes on──────────────────wait done──update…
//	side              wait ready──sum [from,to)──…──record done
//
// The compute stream waits for sums only when the host has seen them done: a peer that died leaves the side stream
// hanging until the communicator is aborted, and never the compute stream.
type group struct {
	d           *device
	comm        *nccl.Comm
	side        cu.Stream
	ready, done cu.Event
	failed      bool
}

var (
	_ backend.DeviceGrouper  = (*Backend)(nil)
	_ backend.DeviceGradient = (*exec)(nil)
)

// ncclLibrary is the file that a device sums with: the software device has a library of its own, since real NCCL cannot use
// its memory.
func ncclLibrary(software bool) (string, error) {
	if p := os.Getenv(nccl.EnvLibrary); p != "" || !software {
		return p, nil
	}
	device, err := soft.Library()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(device), soft.NCCLFile), nil
}

// CanSum says why devices of a kind, such as cuda:0, auto or soft, cannot sum by themselves, nil where they can.
func CanSum(device string) error {
	kind, _, _ := strings.Cut(device, ":")
	if kind != "" && kind != "auto" && kind != "cuda" && kind != "soft" {
		return fmt.Errorf("device %s has no collective of its own: use the ring", device)
	}
	path, err := ncclLibrary(kind == "soft")
	if err == nil {
		_, err = nccl.Open(path)
	}
	return err
}

// CanGroup says why there is no NCCL.
func (b *Backend) CanGroup() error { return CanSum(b.Name()) }

// GroupID makes the ID of a communicator.
func (b *Backend) GroupID() ([]byte, error) {
	if err := b.CanGroup(); err != nil {
		return nil, err
	}
	if err := b.d.enter(); err != nil {
		return nil, err
	}
	defer b.d.leave()
	id, err := nccl.NewID()
	return id[:], err
}

// JoinGroup makes a communicator with other processes.
func (b *Backend) JoinGroup(ctx context.Context, id []byte, rank, size int) (backend.DeviceGroup, error) {
	if err := b.CanGroup(); err != nil {
		return nil, err
	}
	if len(id) != len(nccl.ID{}) {
		return nil, fmt.Errorf("cuda: a group's ID has %d bytes, expected %d", len(id), len(nccl.ID{}))
	}
	if err := b.d.enter(); err != nil {
		return nil, err
	}
	defer b.d.leave()
	g := &group{d: b.d}
	var err error
	if g.side, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return nil, err
	}
	if g.ready, err = cu.MakeEvent(cu.DisableTiming); err == nil {
		if g.done, err = cu.MakeEvent(cu.DisableTiming); err == nil {
			g.comm, err = nccl.New(ctx, nccl.ID(id), rank, size)
		}
	}
	if err != nil {
		return nil, errors.Join(err, g.free())
	}
	return g, nil
}

// Sum enqueues the sum of a range on the side stream, behind what the compute stream has so far.
func (g *group) Sum(gradient backend.DeviceGradient, from, to int) error {
	e, ok := gradient.(*exec)
	if !ok || e.d != g.d {
		return fmt.Errorf("cuda: the gradient belongs to another backend")
	}
	if from == to {
		return e.err
	}
	if e.err != nil {
		return e.err
	}
	if err := g.d.enter(); err != nil {
		return err
	}
	defer g.d.leave()
	err := g.ready.Record(g.d.compute)
	if err == nil {
		err = g.side.Wait(g.ready, 0)
	}
	if err == nil {
		err = g.comm.Sum(e.grad+uint64(4*from), to-from, tensor.F32, g.side)
	}
	return g.note(err)
}

// note keeps in mind that the group is not to be closed in good order.
func (g *group) note(err error) error {
	if err != nil {
		g.failed = true
		return fmt.Errorf("cuda: %w", err)
	}
	return nil
}

// Wait looks at the side stream and the communicator until every sum is done.
func (g *group) Wait() error {
	record := func() (bool, error) { return true, g.done.Record(g.side) }
	if _, err := g.driver(record); err != nil {
		return g.note(err)
	}
	finished := func() (bool, error) { return settled(g.done.Query()) }
	if err := g.comm.Wait(func() (bool, error) { return g.driver(finished) }); err != nil {
		return g.note(err)
	}
	_, err := g.driver(func() (bool, error) { return true, g.d.compute.Wait(g.done, 0) })
	return g.note(err)
}

// driver makes one call with the device current.
func (g *group) driver(call func() (bool, error)) (bool, error) {
	if err := g.d.enter(); err != nil {
		return false, err
	}
	defer g.d.leave()
	return call()
}

// settled turns a query's answer into whether what was asked about is done.
func settled(err error) (bool, error) {
	if err == cu.NotReady {
		return false, nil
	}
	return err == nil, err
}

// Abort ends what waits; Close then aborts the communicator.
func (g *group) Abort() { g.comm.Quit() }

func (g *group) Close() error {
	if err := g.d.enter(); err != nil {
		return err
	}
	defer g.d.leave()
	return g.free()
}

// unstuck is how long an aborted communicator may take to let its stream go.
const unstuck = 5 * time.Second

// free gives everything back. It is called between enter and leave. Nothing writes to the gradient afterwards.
func (g *group) free() error {
	var errs []error
	if g.comm != nil {
		idle, err := settled(g.side.Query())
		if idle && err == nil && !g.failed {
			errs = append(errs, g.comm.Close())
		} else {
			errs = append(errs, g.comm.Abort())
		}
		for end := time.Now().Add(unstuck); ; time.Sleep(time.Millisecond) {
			idle, err := settled(g.side.Query())
			if err == nil && !idle && time.Now().After(end) {
				err = fmt.Errorf("cuda: NCCL's stream still works %v after the communicator was aborted: restart this process", unstuck)
			}
			if idle || err != nil {
				errs = append(errs, err)
				break
			}
		}
	}
	errs = append(errs, destroy(&g.ready), destroy(&g.done), g.side.Destroy())
	return errors.Join(errs...)
}

// Fill sets a range of the gradient, in the order of the compute stream.
func (e *exec) Fill(from, to int, v float32) error {
	if e.err != nil || from == to {
		return e.err
	}
	if err := e.d.enter(); err != nil {
		return err
	}
	defer e.d.leave()
	return cu.MemsetD32Async(cu.DevicePtr(e.grad+uint64(4*from)), uint(math.Float32bits(v)), int64(to-from), e.d.compute)
}
