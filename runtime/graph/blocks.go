package graph

import (
	"fmt"

	"ringo/runtime/tensor"
)

// Block is the side of the blocks that "blocks" cuts a matrix into.
const Block = 32

// BlockShape is the shape of a (rows, cols) matrix in blocks: column of blocks, row of blocks, numbers of a block.
func BlockShape(rows, cols int) tensor.Shape {
	return tensor.Shape{(cols + Block - 1) / Block, (rows + Block - 1) / Block, Block * Block}
}

func blocksInfer(n *Node) ([]Type, error) {
	x := n.In[0]
	if x.DType != tensor.F32 || len(x.Shape) != 2 {
		return nil, fmt.Errorf("x is %v, expected a matrix of f32", x.Type)
	}
	return []Type{{tensor.BF16, BlockShape(x.Shape[0], x.Shape[1])}}, nil
}

func init() {
	f32 := func(rows, cols int) Sample {
		return Sample{In: []SampleIn{{Shape: tensor.Shape{rows, cols}, DType: tensor.F32, Lo: -1, Hi: 1}}, NoGrad: true, Tol: 1.0 / 256,
			Why: "one rounding to 8 bits"}
	}
	// x (R,C) → its numbers, rounded to bf16, as products on the CPU read them (MatMul.Blocks): blocks of 32×32, column of blocks by
	// column of blocks, zeros past the matrix. In a block: columns 0–15, then 16–31; in each, rows by pairs; in a pair, column by column the
	// upper number, then the lower.
	register(Op{Name: "blocks", MinIn: 1, Infer: blocksInfer, FLOPs: noFLOPs, Samples: []Sample{f32(1, 1), f32(32, 32), f32(33, 65), f32(70, 40)}})
}
