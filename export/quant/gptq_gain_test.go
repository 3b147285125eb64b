package quant_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/export/quant"
	"ringo/runtime/tensor"
)

// correlated is a data set for the small mlp whose samples come in blocks of 64, each in three directions of its own, as
// neighbours in a data set often are alike; n rows, labels all 0.
func correlated(t *testing.T, ds *samples, n int, seed uint64) (*samples, *tensor.Tensor) {
	t.Helper()
	const block, directions, inputs = 64, 3, 20
	all, mix := tensor.NewPhilox(7, 0), tensor.NewPhilox(seed, 1)
	x := tensor.New(tensor.F32, n, inputs)
	out := &samples{fields: ds.fields}
	basis, weights := make([]float32, directions*inputs), make([]float32, directions)
	for i := range n {
		if i%block == 0 {
			all.FillNormal(basis, 0, 1)
		}
		mix.FillNormal(weights, 0, 1)
		row := tensor.Data[float32](x)[i*inputs : (i+1)*inputs]
		for d, w := range weights {
			for k := range row {
				row[k] += w * basis[d*inputs+k]
			}
		}
		out.rows = append(out.rows, [][]byte{x.Bytes()[4*i*inputs : 4*(i+1)*inputs], make([]byte, 4)})
	}
	return out, x
}

// TestGPTQ: rounding that looks at the inputs leaves a clearly smaller error of the layer's results than rounding to
// nearest, on samples that it has not seen too, and of all batches, not of the first alone.
func TestGPTQ(t *testing.T) {
	t.Parallel()
	const units, inputs, n = 16, 20, 256
	_, inf, ds := random(t, "mlp", 1)
	learn, _ := correlated(t, ds, n, 1)
	_, unseen := correlated(t, ds, n, 2)
	w := tensor.New(tensor.F32, units, inputs)
	require.NoError(t, inf.Weights.Read("0.weight", w.Bytes()))
	// wrong is ‖x·(wᵢₙₜ₈ − w)ᵀ‖² over each block of unseen samples: the weights' rounding alone.
	wrong := func(gptq bool, batches int) (sum [4]float64) {
		o := options()
		o.GPTQ, o.Batches, o.Rows = gptq, batches, 64
		q, err := quant.Quantize(cpu(t), inf, learn, o)
		require.NoError(t, err)
		rounded, scales := tensor.Data[int8](q.Tensors["0.weight_int8"]), tensor.Data[float32](q.Tensors["0.weight_scale"])
		for i := range n {
			for u := range units {
				d := 0.0
				for k := range inputs {
					d += float64(tensor.Data[float32](unseen)[i*inputs+k]) * float64(float32(rounded[u*inputs+k])*scales[u]-tensor.Data[float32](w)[u*inputs+k])
				}
				sum[i/64] += d * d
			}
		}
		return sum
	}
	nearest, first, all := wrong(false, 4), wrong(true, 1), wrong(true, 4)
	for block := range nearest {
		require.Less(t, all[block], 0.5*nearest[block], "block %d", block)
	}
	require.Less(t, first[0], 0.1*nearest[0], "what one batch shows, it fits")
	require.Greater(t, first[1]+first[2]+first[3], nearest[1]+nearest[2]+nearest[3], "and knows nothing of the others")
}
