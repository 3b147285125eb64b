//go:build cuda

package cuda

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strings"

	"ringo/cuda/blas"
	"ringo/kernels"
)

// products are a device's matrix products by cuBLASLt: the library's version, 0 where there is none, and the
// algorithms that were fastest, kept in a file of the user's cache.
type products struct {
	version   int
	why       error // why there is no library
	workspace uint64
	fastest   map[string]blas.Algorithm
	file      string
}

// openProducts loads the library where it is. The software device has none of its own; tests give it one by RINGO_CUBLASLT.
func (d *device) openProducts() error {
	if d.soft && os.Getenv("RINGO_CUBLASLT") == "" {
		d.products.why = fmt.Errorf("the software device has no cuBLASLt")
		return nil
	}
	d.products.version, d.products.why = blas.Open()
	if d.products.why != nil {
		return nil
	}
	var err error
	if d.products.workspace, err = d.allocate(blas.WorkspaceBytes, false); err != nil {
		return fmt.Errorf("workspace of cuBLASLt, %d bytes: %w", blas.WorkspaceBytes, err)
	}
	d.products.load(d)
	return nil
}

// load reads the file of fastest algorithms; one that is missing or damaged only costs time.
func (p *products) load(d *device) {
	p.fastest = map[string]blas.Algorithm{}
	cache, err := os.UserCacheDir()
	if err != nil || d.soft {
		return
	}
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '-'
		}
		return r
	}, d.name)
	p.file = filepath.Join(cache, "ringo", "cuda", fmt.Sprintf("gemm-%s-%d.json", name, p.version))
	raw, err := os.ReadFile(p.file)
	var entries map[string]string
	if err != nil || json.Unmarshal(raw, &entries) != nil {
		return
	}
	for key, text := range entries {
		var a blas.Algorithm
		if n, err := hex.Decode(a[:], []byte(text)); err == nil && n == len(a) {
			p.fastest[key] = a
		}
	}
}

// save writes the file, whole or not at all. What cannot be saved is timed again next time.
func (p *products) save() {
	if p.file == "" || os.MkdirAll(filepath.Dir(p.file), 0o755) != nil {
		return
	}
	entries := map[string]string{}
	for key, a := range p.fastest {
		entries[key] = hex.EncodeToString(a[:])
	}
	raw, err := json.MarshalIndent(entries, "", " ")
	if err != nil {
		return
	}
	tmp := fmt.Sprintf("%s.%d", p.file, os.Getpid())
	if os.WriteFile(tmp, raw, 0o644) != nil || os.Rename(tmp, p.file) != nil {
		_ = os.Remove(tmp)
	}
}

// productKey names everything that an algorithm may depend on.
func productKey(g *kernels.Gemm) string {
	align := func(p uint64) int { return min(8, bits.TrailingZeros64(p)) }
	return fmt.Sprintf("%dx%dx%d*%d %v%v %v>%v round %v ld %d %d %d step %d %d %d bias %v gelu %v aux %v beta %v align %d %d %d",
		g.M, g.N, g.K, g.Batch, g.TransA, g.TransB, g.In, g.Out, g.Round, g.LDA, g.LDB, g.LDC, g.StepA, g.StepB, g.StepC,
		g.Bias != 0, g.Gelu, g.Aux != 0, g.Beta != 0, align(g.A), align(g.B), align(g.C))
}

// candidates is how many algorithms are timed, runs how often each.
const candidates, timedRuns = 16, 4

// choose gives the plan the fastest algorithm; false where the library has none. Timing overwrites C, which is
// safe while a program is compiled: nothing was computed yet.
func (d *device) choose(p *blas.Plan, g *kernels.Gemm) bool {
	key := productKey(g)
	if a, ok := d.products.fastest[key]; ok {
		// One run loads the library's code, which a capture may not do, and shows that the algorithm still works.
		p.Use(a)
		if _, ok := p.Time(d.compute, 1); ok {
			return true
		}
	}
	best, found := float32(0), false
	var fastest blas.Algorithm
	for _, a := range p.Ask(candidates) {
		p.Use(a)
		if ms, ok := p.Time(d.compute, timedRuns); ok && (!found || ms < best) {
			best, fastest, found = ms, a, true
		}
	}
	if !found {
		return false
	}
	p.Use(fastest)
	d.products.fastest[key] = fastest
	d.products.save()
	return true
}

// Gemm adds a product by the library. On the first pass it only asks whether there is an algorithm.
func (b *binder) Gemm(g *kernels.Gemm) bool {
	if b.d.products.version == 0 || g.M == 0 || g.N == 0 || g.K == 0 {
		return false
	}
	p, err := blas.NewPlan(g, b.d.products.workspace)
	if err != nil {
		return false
	}
	if b.commands == nil {
		ok := len(p.Ask(1)) > 0
		p.Close()
		return ok
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
