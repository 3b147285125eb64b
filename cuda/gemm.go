//go:build cuda

package cuda

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"os"
	"time"

	"ringo/cuda/blas"
	"ringo/cuda/driver"
	"ringo/kernels"
)

// products are a device's matrix products by cuBLASLt: the library's version, 0 where there is none, and the
// algorithms that were fastest, kept in a file of the user's cache.
type products struct {
	version   int
	handle    blas.Handle
	by        string // who computes them, as people read it
	workspace uint64
	awake     bool // the GPU's clocks have risen
	kept      kept // algorithms, in hexadecimal
}

// openProducts loads the library where it is. The software device has none of its own; tests give it one by RINGO_CUBLASLT.
func (d *device) openProducts() error {
	if d.soft && os.Getenv(blas.EnvLibrary) == "" {
		return nil
	}
	library, err := blas.Open()
	if err == nil {
		d.products.handle, err = blas.NewHandle()
	}
	if err != nil { // a library without its driver, or none: slower, and not wrong
		d.products.by = fmt.Sprintf("kernels of ringo's own (%v)", err)
		return nil
	}
	d.products.version, d.products.by = library.Version, "cuBLASLt "+library.String()
	if d.products.workspace, err = d.allocate(blas.WorkspaceBytes, false); err != nil {
		return fmt.Errorf("workspace of cuBLASLt, %d bytes: %w", blas.WorkspaceBytes, err)
	}
	d.products.kept = newKept(d, "gemm", fmt.Sprint(d.products.version))
	return nil
}

// fastest returns the algorithm that was found for a key.
func (p *products) fastest(key string) (a blas.Algorithm, ok bool) {
	raw, err := hex.DecodeString(p.kept.entries[key])
	return a, err == nil && copy(a[:], raw) == len(a) && len(raw) == len(a)
}

func (p *products) keep(key string, a blas.Algorithm) { p.kept.entries[key] = hex.EncodeToString(a[:]) }

// productKey names everything that an algorithm may depend on.
func productKey(g *kernels.Gemm) string {
	align := func(p uint64) int { return min(8, bits.TrailingZeros64(p)) }
	return fmt.Sprintf("%dx%dx%d*%d %v%v %v>%v round %v ld %d %d %d step %d %d %d bias %v sums %v gelu %v %v aux %v beta %v add %v align %d %d %d",
		g.M, g.N, g.K, g.Batch, g.TransA, g.TransB, g.In, g.Out, g.Round, g.LDA, g.LDB, g.LDC, g.StepA, g.StepB, g.StepC,
		g.Bias != 0, g.Sums != 0, g.Gelu, g.DGelu, g.Aux != 0, g.Beta != 0, g.Add != 0 && g.Add != g.C, align(g.A), align(g.B), align(g.C))
}

// candidates is how many algorithms are timed, runs how often each.
const candidates, timedRuns = 16, 4

// refused stands in the place of an algorithm where a product and what belongs to it are faster one after the other.
var refused blas.Algorithm

// choose gives the plan the fastest algorithm; false where the library has none, or two steps are faster. Timing overwrites C and
// Sums, which is safe while a program is compiled: nothing was computed yet.
func (d *device) choose(p *blas.Plan, g *kernels.Gemm) bool {
	key := productKey(g)
	if use, ok := d.known(p, key); ok {
		return use
	}
	defer d.products.kept.lock()()
	if use, ok := d.known(p, key); ok { // another process has timed it
		return use
	}
	fastest, best, found := d.time(p)
	if !found {
		return false
	}
	if d.fasterApart(g, best) {
		fastest = refused
	}
	p.Use(fastest)
	d.products.keep(key, fastest)
	d.products.kept.save()
	return fastest != refused
}

// time returns the fastest of the algorithms and its time in milliseconds.
func (d *device) time(p *blas.Plan) (fastest blas.Algorithm, best float32, found bool) {
	for _, a := range p.Ask(candidates) {
		p.Use(a)
		d.wake(p)
		if ms, ok := p.Time(d.compute, timedRuns); ok && (!found || ms < best) {
			best, fastest, found = ms, a, true
		}
	}
	return fastest, best, found
}

// riseTime is how long a GPU works before its clocks have risen: idle they are far below (345 of 1980 MHz were seen on an H200), and
// what is timed first would be timed at that.
const riseTime = 200 * time.Millisecond

// wake runs a product until the GPU's clocks have risen, once.
func (d *device) wake(p *blas.Plan) {
	if d.soft || d.products.awake {
		return
	}
	d.products.awake = true
	for start := time.Now(); time.Since(start) < riseTime; {
		if _, ok := p.Time(d.compute, timedRuns); !ok {
			return
		}
	}
}

// noise fills memory with numbers of [−1,1): products of what a driver's new memory holds, zeros, would be timed at clocks that
// those of data do not keep. It is called between enter and leave.
func (d *device) noise(p uint64, bytes int64) error {
	const threads, pack = 256, 16
	if d.products.version == 0 || bytes < pack {
		return nil
	}
	list := &binder{d: d, commands: &driver.Commands{}}
	defer list.close()
	call := &kernels.DeviceCall{Device: d.info, Queue: list}
	if err := call.Launch("noise", call.Strided(bytes/pack, threads), kernels.Block(threads), 0, p, bytes/pack); err != nil {
		return err
	}
	return list.commands.Run(0, 1, d.ctx, d.compute)
}

// fasterApart reports whether the product alone, and what belongs to it in a kernel of its own at half of the memory's bandwidth,
// take less time: libraries are not equally good at all that they can do.
func (d *device) fasterApart(g *kernels.Gemm, together float32) bool {
	alone, bytes := apart(g)
	if bytes == 0 || d.bandwidth == 0 {
		return false
	}
	p, err := blas.NewPlan(d.products.handle, &alone, d.products.workspace)
	if err != nil {
		return false
	}
	defer p.Close()
	_, best, ok := d.time(p)
	return ok && float64(together) > float64(best)+bytes/(d.bandwidth/2)*1e3
}

// apart returns the product without what a kernel of ours can do after it, and the bytes that it would move; 0 where there is nothing.
func apart(g *kernels.Gemm) (alone kernels.Gemm, bytes float64) {
	alone = *g
	result := float64(max(1, g.Batch)) * float64(g.M) * float64(g.N) * float64(g.Out.Size())
	switch {
	case g.Sums != kernels.Null:
		alone.Sums, bytes = kernels.Null, float64(g.K)*float64(g.N)*float64(g.In.Size())
	case g.Add != kernels.Null:
		alone.Add, alone.Beta, bytes = kernels.Null, 0, 3*result
	case g.DGelu:
		alone.DGelu, alone.Aux, bytes = false, kernels.Null, 3*result
	case g.Gelu:
		alone.Gelu, alone.Aux, bytes = false, kernels.Null, 2*result
	}
	return alone, bytes
}

// known gives the plan what was chosen before; ok is false where nothing was, or it fails. One run loads the library's
// code, which a capture may not do, and shows that the algorithm still works.
func (d *device) known(p *blas.Plan, key string) (use, ok bool) {
	a, ok := d.products.fastest(key)
	if !ok || a == refused {
		return false, ok
	}
	p.Use(a)
	_, ok = p.Time(d.compute, 1)
	return ok, ok
}

// Gemm adds a product by the library. On the first pass it says no: which products the library takes, and with what at their
// end, is known when they are timed, on the second. So scratch memory is counted for the kernels that stand in for it, which need
// the most.
func (b *binder) Gemm(g *kernels.Gemm) bool {
	if b.commands == nil || b.d.products.version == 0 || g.M == 0 || g.N == 0 || g.K == 0 {
		return false
	}
	p, err := blas.NewPlan(b.d.products.handle, g, b.d.products.workspace)
	if err != nil {
		return false
	}
	if !b.d.choose(p, g) {
		p.Close()
		return false
	}
	b.plans = append(b.plans, p)
	b.commands.Call(p.Call())
	b.labels = append(b.labels, b.label+" (cuBLASLt)")
	return true
}
