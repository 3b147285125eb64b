package graph

import "fmt"

// Verify checks what every pass must keep: topological order, IDs, arity, and that each node's types
// are what its row infers from its inputs, or what the node says it stores.
func Verify(g *Graph) error {
	seen := make(map[*Value]bool, len(g.Nodes))
	for i, n := range g.Nodes {
		if n.ID != i {
			return &Error{n.Op.Name, n.Name, fmt.Errorf("node %d carries ID %d", i, n.ID)}
		}
		for j, v := range n.In {
			if !seen[v] {
				return &Error{n.Op.Name, n.Name, fmt.Errorf("input %d is used before it is made", j)}
			}
		}
		types, err := n.types()
		if err != nil {
			return &Error{n.Op.Name, n.Name, err}
		}
		if len(types) != len(n.Out) {
			return &Error{n.Op.Name, n.Name, fmt.Errorf("%d outputs, its row infers %d", len(n.Out), len(types))}
		}
		for j, t := range types {
			o := n.Out[j]
			if !o.Type.Equal(t) || o.Node != n || o.Index != j {
				return &Error{n.Op.Name, n.Name, fmt.Errorf("output %d is %v, its row infers %v", j, o.Type, t)}
			}
			seen[o] = true
		}
	}
	for _, o := range g.Outputs {
		if !seen[o.Value] {
			return fmt.Errorf("output %q is not made by this graph", o.Name)
		}
	}
	return nil
}

// Renumber sets the IDs after nodes were moved, added or removed.
func (g *Graph) Renumber() {
	for i, n := range g.Nodes {
		n.ID = i
	}
}
