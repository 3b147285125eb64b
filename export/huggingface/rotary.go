package huggingface

import (
	"strings"

	"ringo/models"
)

// Transformers rotates pairs (i, i+D/2) of a head, llama2.c, llama.cpp and rope_interleaved pairs (2i, 2i+1). The
// same rotation falls to other rows of the query and key weights: row 2i of a head goes to row i, row 2i+1 to row
// i+D/2. Scores are sums over a head's rows, so their order does not matter to anything else.

// Halves reorders the rows of a query or key weight (heads·D, columns) from interleaved pairs to halves, or back.
// row is the bytes of one row.
func Halves(raw []byte, heads, row int, back bool) {
	dim := len(raw) / heads / row
	old := make([]byte, dim*row)
	for h := range heads {
		head := raw[h*dim*row : (h+1)*dim*row]
		copy(old, head)
		for i := range dim / 2 {
			for j, half := range []int{i, i + dim/2} {
				from, to := 2*i+j, half
				if back {
					from, to = to, from
				}
				copy(head[to*row:(to+1)*row], old[from*row:])
			}
		}
	}
}

// Rotated returns the heads of a weight whose rows rotary embedding turns, 0 for any other.
func Rotated(c models.Config, w models.Weight) int {
	switch {
	case c.Name != "llama":
		return 0
	case strings.HasSuffix(w.Name, "self_attn.q_proj.weight"):
		return c.Heads
	case strings.HasSuffix(w.Name, "self_attn.k_proj.weight"):
		return c.KVHeads
	}
	return 0
}
