package plan

import (
	"fmt"
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// pass is one step from model graph to program; passes on the graph come first.
type pass struct {
	name     string
	optional bool // may be switched off: losses stay the same up to rounding
	run      func(g *graph.Graph, s *state) error
}

// passes lists what happens to a graph, in order. The verifier runs after each.
var passes = []pass{
	{"storage", false, storage},
	{"round", false, roundParams},
	{"pad-classes", true, padClasses},
	{"differentiate", false, differentiate},
	{"simplify", true, simplify},
	{"int8", true, fuseInt8},
	{"recompute", false, recompute},
	{"fuse-loss", true, fuseLoss},
	{"classifier-rows", true, classifierRows},
	{"fuse-epilogue", true, fuseEpilogue},
	{"keep-slope", true, keepSlopes},
	{"fuse-residual", true, fuseResidual},
	{"simplify-again", true, simplify},
	{"fuse-bias-grad", true, fuseBiasGrad},
	{"blocks", true, blocks},
	{"half-factors", true, halfFactors},
	{"prune", false, prune},
}

// state is what passes hand to each other beside the graph.
type state struct {
	opt   Options
	grads []*graph.Value // per parameter, kept up to date by rewrites; nil in inference
}

// PassNames lists the passes that Options.Disable may name.
func PassNames() []string {
	var out []string
	for _, p := range passes {
		if p.optional {
			out = append(out, p.name)
		}
	}
	return append(out, "reuse-memory", "in-place", "eager-update", "fuse-update")
}

// Compile plans g, which it changes and keeps. It returns an error where the graph is inconsistent or the
// options name something that is not there.
func Compile(g *graph.Graph, opt Options) (*Program, error) {
	if opt.Precision == tensor.Invalid {
		opt.Precision = tensor.F32
	}
	for _, d := range opt.Disable {
		if !slices.Contains(PassNames(), d) {
			return nil, fmt.Errorf("plan: pass %q cannot be disabled: expected one of %v", d, PassNames())
		}
	}
	s := &state{opt: opt}
	for _, p := range passes {
		if p.optional && s.off(p.name) {
			continue
		}
		if err := p.run(g, s); err != nil {
			return nil, fmt.Errorf("plan: %s: %w", p.name, err)
		}
		if err := graph.Verify(g); err != nil {
			return nil, fmt.Errorf("plan: after %s: %w", p.name, err)
		}
		if opt.Dump != nil {
			opt.Dump(p.name, g)
		}
	}
	return lower(g, s)
}

func (s *state) off(pass string) bool { return slices.Contains(s.opt.Disable, pass) }

func differentiate(g *graph.Graph, s *state) error {
	t := s.opt.Training
	if t == nil {
		return nil
	}
	name := t.Loss
	if name == "" {
		name = "loss"
	}
	loss := g.Find(name)
	if loss == nil {
		return fmt.Errorf("the graph has no output %q", name)
	}
	grads, err := g.Gradient(loss, 1, g.Params)
	for i, p := range g.Params {
		if err == nil && grads[i] == nil {
			grads[i] = g.Fill(0, p.DType, p.Shape...) // unused by this loss: it must not move by chance
		}
	}
	s.grads = grads
	return err
}

func prune(g *graph.Graph, s *state) error {
	newRewriter(g, s).finish()
	return nil
}
