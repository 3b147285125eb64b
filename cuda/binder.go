//go:build cuda

package cuda

import (
	"fmt"
	"slices"

	"ringo/cuda/blas"
	"ringo/cuda/driver"
	"ringo/kernels"
)

// binder receives the launches of one program's instructions. On the first pass it checks them and counts scratch
// memory; on the second it appends them to a list of commands.
type binder struct {
	d        *device
	commands *driver.Commands // nil on the first pass
	scratch  uint64           // where scratch memory starts
	used     int64            // scratch of the current call
	peak     int64            // the most that a call used
	labels   []string         // per command, what people read in errors
	label    string
	plans    []*blas.Plan // matrix products by the library
	trying   int          // the version that a trial wants of every call, and 1; 0 where there is no trial
}

// close frees the commands and what they use.
func (b *binder) close() {
	b.commands.Close()
	for _, p := range b.plans {
		p.Close()
	}
}

var _ kernels.Queue = (*binder)(nil)

// scratchAlign suits the widest access of any kernel or library.
const scratchAlign = 256

// begin starts a call: the scratch memory of the one before is free again.
func (b *binder) begin(label string) { b.used, b.label = 0, label }

func (b *binder) Scratch(n int64) uint64 {
	at := b.scratch + uint64(b.used)
	b.used += (n + scratchAlign - 1) / scratchAlign * scratchAlign
	b.peak = max(b.peak, b.used)
	return at
}

func (b *binder) Launch(kernel string, grid, block kernels.Dim3, shared int, args []byte, sizes []int) error {
	f, err := b.d.function(kernel)
	if err != nil {
		return err
	}
	if f.checked && !slices.Equal(f.params, sizes) {
		return fmt.Errorf("kernel %s takes parameters of %v bytes, the launch passes %v", kernel, f.params, sizes)
	}
	if !fits(grid, 1<<31-1, 1<<16-1) || !fits(block, 1024, 1024) {
		return fmt.Errorf("kernel %s: a grid of %d×%d×%d blocks of %d×%d×%d threads: expected 1 to 2³¹−1 blocks, 65535 along y and z, of at most 1024 threads",
			kernel, grid.X, grid.Y, grid.Z, block.X, block.Y, block.Z)
	}
	if all := shared + f.static; all > b.d.info.Shared {
		return fmt.Errorf("kernel %s asks for %d bytes of shared memory, %s has %d per block", kernel, all, b.d.name, b.d.info.Shared)
	}
	if b.commands == nil {
		return nil
	}
	if shared > f.shared {
		if err := driver.DynamicShared(f.handle, shared); err != nil {
			return fmt.Errorf("kernel %s with %d bytes of shared memory: %w", kernel, shared, err)
		}
		f.shared = shared
	}
	b.commands.Launch(f.handle, [3]uint32{grid.X, grid.Y, grid.Z}, [3]uint32{block.X, block.Y, block.Z}, uint32(shared), args, sizes)
	b.labels = append(b.labels, b.label+" ("+kernel+")")
	return nil
}

// fits reports whether every size is 1 or more, x at most `across` and y and z at most `other`.
func fits(d kernels.Dim3, across, other uint32) bool {
	return d.X-1 < across && d.Y-1 < other && d.Z-1 < other // 0−1 is more than any
}

func (b *binder) Fill(dst uint64, value byte, n int64) {
	if b.commands != nil && n > 0 {
		b.commands.Fill(dst, value, n)
		b.labels = append(b.labels, b.label+" (fill)")
	}
}

func (b *binder) Copy(dst, src uint64, n int64) {
	if b.commands != nil && n > 0 && dst != src {
		b.commands.Copy(dst, src, n)
		b.labels = append(b.labels, b.label+" (copy)")
	}
}

// Fastest adds the version of a call that the device takes. The first pass checks the launches of all.
func (b *binder) Fastest(c *kernels.DeviceCall, v *kernels.Versions) error {
	if b.trying > 0 {
		return v.List[b.trying-1].Launch()
	}
	if b.commands == nil {
		for _, version := range v.List {
			if err := version.Launch(); err != nil {
				return err
			}
		}
		return nil
	}
	i, err := b.d.version(c, v)
	if err != nil {
		return err
	}
	return v.List[i].Launch()
}
