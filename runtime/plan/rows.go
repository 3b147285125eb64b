package plan

import (
	"reflect"
	"slices"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// chunkMultiple is what automatic chunks have a multiple of rows of: whole tiles, which start where tensors may.
const chunkMultiple = 128

// classifierRows computes a language model's classifier in chunks of rows: product, loss with its gradient over the logits, and the
// gradient's products, before the next chunk's logits take the same memory (as Hsu et al., "Liger Kernel", 2024, section 3.2, whose
// products these are too). The gradient of the input is computed where its rows lie; the weight's is summed over chunks in f32.
func classifierRows(g *graph.Graph, s *state) error {
	r := newRewriter(g, s)
	for _, n := range slices.Clone(g.Nodes) {
		if c := findClassifier(r, n); c != nil {
			if rows := s.opt.chunk(n.In[0].Shape[0], n.In[0].Bytes()); rows < n.In[0].Shape[0] {
				c.split(rows)
			}
		}
	}
	r.finish()
	return nil
}

// chunk returns how many of a classifier's rows are computed at once.
func (o *Options) chunk(rows, bytes int) int {
	if o.ClassifierRows > 0 {
		return o.ClassifierRows
	}
	if o.Logits.Bytes == 0 {
		return rows
	}
	chunks := max(1, min((bytes+o.Logits.Bytes/2)/o.Logits.Bytes, rows/max(1, o.Logits.Rows)))
	each := (rows + chunks - 1) / chunks
	return (each + chunkMultiple - 1) / chunkMultiple * chunkMultiple
}

// classifier is a product whose result only a loss reads, and in training what is computed of the loss's gradient.
type classifier struct {
	r             *rewriter
	loss, product *graph.Node
	dx, dw, db    *graph.Node // products and sum that read the gradient of the logits; nil where there is none
}

// findClassifier looks behind a loss; nil where something else reads the logits or their gradient.
func findClassifier(r *rewriter, n *graph.Node) *classifier {
	e, ok := n.Attrs.(graph.CrossEntropy)
	if !ok || e.Total != 0 || r.uses[n.Out[0]] == 0 {
		return nil
	}
	logits := r.behindReshapes(n.In[0])
	m := logits.Node
	a, ok := m.Attrs.(graph.MatMul)
	if !ok || a != (graph.MatMul{TransB: a.TransB, Bias: a.Bias}) || len(m.In[1].Shape) != 2 || !r.only(logits) {
		return nil
	}
	c := &classifier{r: r, loss: n, product: m}
	switch {
	case n.Op.Name == "cross_entropy" && r.uses[n.Out[1]] == 0, n.Op.Name == "cross_entropy_fused" && c.readers(n.Out[1]):
		return c
	}
	return nil
}

// readers finds what reads the gradient of the logits; false where that is more than a classifier's gradients.
func (c *classifier) readers(d *graph.Value) bool {
	found := c.r.readers(d)
	trans := c.product.Attrs.(graph.MatMul).TransB
	for _, n := range found {
		a, product := n.Attrs.(graph.MatMul)
		ofRows := product && a == graph.MatMul{TransA: true} && len(d.Shape) == 2 && c.dw == nil
		sum, _ := n.Attrs.(graph.Reduce)
		switch {
		case n.Op.Name == "reshape":
			if !c.readers(n.Out[0]) {
				return false
			}
		case c.dx == nil && product && a == graph.MatMul{TransB: !trans} && n.In[0] == d && n.In[1] == c.product.In[1]:
			c.dx = n
		case ofRows && trans && n.In[0] == d && again(n.In[1], c.product.In[0]):
			c.dw = n
		case ofRows && !trans && n.In[1] == d && again(n.In[0], c.product.In[0]):
			c.dw = n
		case c.db == nil && n.Op.Name == "sum" && len(d.Shape) == 2 && slices.Equal(sum.Axes, []int{0}) && !sum.Keep:
			c.db = n
		default:
			return false
		}
	}
	return len(found) == c.r.uses[d]
}

// again reports whether v is u, but for its shape, or is u computed once more: then u, which is there, serves as well.
func again(v, u *graph.Value) bool {
	for v.Node.Op.Name == "reshape" {
		v = v.Node.In[0]
	}
	for u.Node.Op.Name == "reshape" {
		u = u.Node.In[0]
	}
	if v == u || !v.Node.Again {
		return v == u
	}
	n, m := v.Node, u.Node
	return n.Op == m.Op && v.Index == u.Index && reflect.DeepEqual(n.Attrs, m.Attrs) && slices.EqualFunc(n.In, m.In, again)
}

// split puts chunks of rows in the place of the classifier, one after the other where its loss stood.
func (c *classifier) split(each int) {
	rows := c.loss.In[0].Shape[0]
	x := c.product.In[0]
	width := x.Shape[len(x.Shape)-1]
	x = c.r.shaped(c.loss, x, tensor.Shape{rows, width})
	var loss, dw, db *graph.Value
	var dx []*graph.Value
	for from := 0; from < rows; from += each {
		to := min(rows, from+each)
		part := c.add(c.product, "slice", graph.Slice{Start: []int{from, 0}, End: []int{to, width}, Step: []int{1, 1}}, x)[0]
		logits := c.add(c.product, "matmul", c.product.Attrs, append([]*graph.Value{part}, c.product.In[1:]...)...)[0]
		e := c.loss.Attrs.(graph.CrossEntropy)
		e.First, e.Total = from, rows
		out := c.add(c.loss, c.loss.Op.Name, e, logits, c.loss.In[1])
		loss = c.sum(c.loss, loss, out[0])
		if c.dx != nil {
			dx = append(dx, c.add(c.dx, "matmul", c.dx.Attrs, out[1], c.dx.In[1])[0])
		}
		if c.dw != nil {
			dw = c.term(dw, out[1], part)
		}
		if c.db != nil {
			db = c.sum(c.db, db, c.wide(c.db, c.add(c.db, "sum", c.db.Attrs, out[1])[0]))
		}
	}
	c.r.replace(c.loss.Out[0], loss)
	if c.dx != nil {
		all := c.add(c.dx, "concat", graph.Concat{}, dx...)[0]
		c.r.replace(c.dx.Out[0], c.r.shaped(c.loss, all, c.dx.Out[0].Shape))
	}
	if c.dw != nil {
		c.r.settle(c.dw.Out[0], dw)
	}
	if c.db != nil {
		c.r.settle(c.db.Out[0], db)
	}
}

// add adds a node that stands for part of another one's work, where the loss stood.
func (c *classifier) add(of *graph.Node, op string, attrs any, in ...*graph.Value) []*graph.Value {
	out := c.r.add(of, op, attrs, in...)
	c.r.prio[out[0].Node] = c.r.prio[c.loss]
	return out
}

// term adds a chunk's part of the weight's gradient to the sum so far.
func (c *classifier) term(sum, d, x *graph.Value) *graph.Value {
	a, in := graph.MatMul{TransA: true, Term: true}, []*graph.Value{x, d}
	if c.product.Attrs.(graph.MatMul).TransB { // the weight is (classes, width)
		in = []*graph.Value{d, x}
	}
	if sum != nil {
		a.Residual, in = true, append(in, sum)
	}
	return c.add(c.dw, "matmul", a, in...)[0]
}

// sum is a + b, or b where there is no a yet.
func (c *classifier) sum(of *graph.Node, a, b *graph.Value) *graph.Value {
	if a == nil {
		return b
	}
	return c.add(of, "add", nil, a, b)[0]
}

// wide is v in f32 where it is kept in less.
func (c *classifier) wide(of *graph.Node, v *graph.Value) *graph.Value {
	if v.DType.Size() >= tensor.F32.Size() {
		return v
	}
	return c.add(of, "cast", graph.Cast{To: tensor.F32}, v)[0]
}

// settle puts a sum in the place of a gradient that may be of a narrower type: as far behind it as that is only cut, added to and cast.
func (r *rewriter) settle(old, sum *graph.Value) {
	for old.DType != sum.DType {
		n := old.Node
		if found := r.readers(old); r.only(old) && len(found) == 1 {
			n = found[0]
		}
		switch n.Op.Name {
		case "slice", "reshape":
			sum = r.add(n, n.Op.Name, n.Attrs, sum)[0]
		case "add":
			other := n.In[0]
			if other == old {
				other = n.In[1]
			}
			sum = r.add(n, "add", nil, sum, r.add(n, "cast", graph.Cast{To: sum.DType}, other)[0])[0]
		case "cast":
			if n.Out[0].DType != sum.DType {
				sum = r.add(n, "cast", n.Attrs, sum)[0]
			}
		default:
			r.replace(old, r.add(n, "cast", graph.Cast{To: old.DType}, sum)[0])
			return
		}
		old = n.Out[0]
	}
	r.replace(old, sum)
}
