//go:build cuda

package cuda

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"ringo/runtime/backend"
	"ringo/runtime/plan"
)

var _ backend.Explainer = (*exec)(nil)

// Explain says how a step runs: which instructions go as one CUDA graph, what is outside of graphs, and the memory it takes.
func (e *exec) Explain(w io.Writer) {
	fmt.Fprintf(w, "\na step on %s:\n", e.d.name)
	_, training := e.p.Inputs[plan.Hyper]
	if training {
		e.explainPhase(w, "lane phase", 0, e.p.Split, fmt.Sprintf(", once per lane (%d)", e.p.Lanes))
		e.explainPhase(w, "update", e.p.Split, len(e.p.Instrs), "")
	} else {
		e.explainPhase(w, "program", 0, len(e.p.Instrs), "")
	}
	fmt.Fprintln(w, "outside graphs:")
	for _, name := range slices.Sorted(maps.Keys(e.inputs)) {
		fmt.Fprintf(w, "  input %s, %d bytes: copied by a second stream while earlier work computes\n", name, e.inputs[name].target.Bytes())
	}
	if n := e.p.Lanes; training && n > 1 {
		fmt.Fprintf(w, "  sums over %d lanes: %d copies of the gradient and %d additions, of %d elements each\n", n, n-1, n-1, e.Len())
	}
	if n := len(e.stretches()); training && n > 1 {
		fmt.Fprintf(w, "  sums over workers, where there are more than one: the last lane goes in %d graphs, and a bucket of the gradient leaves after each\n", n)
	}
	fmt.Fprintf(w, "  reading outputs (%s): the only wait for the device\n", strings.Join(slices.Sorted(maps.Keys(e.outputs)), ", "))
	fmt.Fprintf(w, "device memory %v\n", e.needs)
}

// explainPhase names one range that Run gets at every step.
func (e *exec) explainPhase(w io.Writer, name string, from, to int, often string) {
	if from == to {
		fmt.Fprintf(w, "  %s: in the lane phase, each parameter's where its gradient is complete\n", name)
		return
	}
	launches := e.starts[to] - e.starts[from]
	how := "one graph of"
	switch {
	case e.d.ungraphed:
		how = EnvGraphs + "=0,"
	case !e.d.capturable(to-from, launches):
		how = "too short for a graph,"
	}
	fmt.Fprintf(w, "  %s: %s %d launches, instructions %d to %d%s\n", name, how, launches, from, to-1, often)
}

// stretches are the pieces of the lane phase between gradients that leave for other workers; see runtime.Step.
func (e *exec) stretches() [][2]int {
	var out [][2]int
	done := 0
	for _, b := range e.p.Buckets {
		if b.Ready >= done {
			out, done = append(out, [2]int{done, b.Ready + 1}), b.Ready+1
		}
	}
	if done < e.p.Split {
		out = append(out, [2]int{done, e.p.Split})
	}
	return out
}

// String lists the parts in MiB.
func (n needs) String() string {
	const mib = 1 << 20
	return fmt.Sprintf("%d MiB (parameters and optimizer %d, gradients %d, activations %d, inputs %d)",
		n.total()/mib, n.persist/mib, (n.grad+n.partial)/mib, (n.work+n.scratch)/mib, (n.input+n.staging)/mib)
}
