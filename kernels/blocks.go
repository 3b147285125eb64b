package kernels

import "ringo/runtime/graph"

func init() { register("blocks", refBlocks) }

// blockPlace is where number (i, j) of a matrix with that many rows stands among its blocks: the formula of the op's row.
func blockPlace(i, j, rows int) int {
	const side, tile, pair = graph.Block, graph.Block * graph.Block / 2, graph.Block
	block := j/side*((rows+side-1)/side) + i/side
	return block*side*side + j%side/16*tile + i%side/2*pair + j%16*2 + i%2
}

func refBlocks(c *Call) {
	rows, cols := c.In[0].Shape[0], c.In[0].Shape[1]
	x, y := c.In[0].Load(), make([]float64, c.Out[0].Shape.Size())
	for i := range rows {
		for j := range cols {
			y[blockPlace(i, j, rows)] = x[i*cols+j]
		}
	}
	c.Out[0].Store(y)
}

// fromBlocks is refBlocks' inverse.
func fromBlocks(y []float64, rows, cols int) []float64 {
	x := make([]float64, rows*cols)
	for i := range rows {
		for j := range cols {
			x[i*cols+j] = y[blockPlace(i, j, rows)]
		}
	}
	return x
}
