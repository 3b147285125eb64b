package plan

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"ringo/runtime/graph"
)

// Explain prints a program for people: every instruction with its shapes, work and memory, then totals.
func Explain(w io.Writer, p *Program) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "#\tphase\top\tname\tinputs → outputs\tMFLOP\tKB\tmemory")
	for i := range p.Instrs {
		in := &p.Instrs[i]
		phase := "lane"
		if i >= p.Split {
			phase = "update"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s → %s\t%.2f\t%.0f\t%s\n", i, phase, in.Op.Name, in.Name,
			types(in.In), types(in.Out), float64(in.FLOPs)/1e6, float64(in.Bytes())/1e3, p.where(in.Out))
	}
	tw.Flush()
	t := p.Totals()
	fmt.Fprintf(w, "\n%d instructions, %d per lane ×%d lanes, %d in the update", len(p.Instrs), p.Split, p.Lanes, len(p.Instrs)-p.Split)
	if p.Eager {
		fmt.Fprint(w, " (each parameter is updated as soon as its gradient is there)")
	}
	if chunks, rows := p.classifier(); chunks > 1 {
		fmt.Fprintf(w, "\nclassifier in %d chunks of %d rows (train.classifier_rows)", chunks, rows)
	}
	fmt.Fprintf(w, "\nwork per step %.3f GFLOP, memory traffic at least %s\n", float64(t.FLOPs)/1e9, size(t.Bytes))
	for r, n := range p.Sizes {
		fmt.Fprintf(w, "%-8s %s\n", Region(r), size(n))
	}
	fmt.Fprintf(w, "arena    %s; live activations and temporaries peak at %s\n", size(p.ArenaBytes()), size(p.PeakWork()))
}

// classifier returns how many chunks a classifier is computed in, and the rows of the first.
func (p *Program) classifier() (chunks, rows int) {
	for i := range p.Instrs {
		if e, ok := p.Instrs[i].Attrs.(graph.CrossEntropy); ok && e.Total > 0 {
			if e.First == 0 {
				rows = p.Instrs[i].In[0].Type.Shape[0]
			}
			chunks++
		}
	}
	return chunks, rows
}

// Totals is the work of one step: lanes times the lane phase, plus the update.
type Totals struct{ FLOPs, Bytes int64 }

// Totals adds up the instructions of one step.
func (p *Program) Totals() Totals {
	var t Totals
	for i := range p.Instrs {
		n := int64(1)
		if i < p.Split {
			n = int64(p.Lanes)
		}
		t.FLOPs += n * p.Instrs[i].FLOPs
		t.Bytes += n * p.Instrs[i].Bytes()
	}
	return t
}

// PeakWork is the largest sum of Work buffers alive at one instruction: what no placement can undercut.
func (p *Program) PeakWork() int64 {
	var peak int64
	for i := range p.Instrs {
		var live int64
		for _, b := range p.Buffers {
			if b.Region == Work && b.First <= i && i <= b.Last {
				live += b.Bytes
			}
		}
		peak = max(peak, live)
	}
	return peak
}

func types(refs []Ref) string {
	var out []string
	for _, r := range refs {
		out = append(out, r.Type.String())
	}
	return strings.Join(out, " ")
}

// where lists the memory an instruction writes: region and byte offset.
func (p *Program) where(refs []Ref) string {
	var out []string
	for _, r := range refs {
		b := p.Buffers[r.Buf]
		s := fmt.Sprintf("%v+%d", b.Region, b.Offset+r.Offset)
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, " ")
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
