//go:build !cgo

package kernels

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

func init() { registerFast("matmul", bindBLAS) }

// bindBLAS multiplies f32 matrices by gonum's BLAS where there is no C compiler, and finishes with the activations of the
// reference. gonum cuts C into blocks for its goroutines and sums each over k in order: bits do not depend on their number.
func bindBLAS(c *Call) func() {
	a := c.Attrs.(graph.MatMul)
	s, shape, err := a.Sizes(c.In[0].Shape, c.In[1].Shape)
	if err != nil || s.Batch*s.M*s.N*s.K == 0 || !allDType(tensor.F32, c.In, c.Out) {
		return nil
	}
	x, w, y := floats(c.In[0]), floats(c.In[1]), floats(c.Out[0])
	var bias, pre, residual, keep []float32
	rest := c.In[2:]
	take := func(want bool) (v []float32) {
		if want {
			v, rest = floats(rest[0]), rest[1:]
		}
		return v
	}
	bias, pre, residual = take(a.Bias), take(a.ActGrad != ""), take(a.Residual)
	if a.KeepPre {
		keep = floats(c.Out[1])
	}
	sums := y
	if residual != nil {
		sums = make([]float32, len(y)) // y may share the residual's memory
	}
	offA, offB := batchOffsets(c, s, shape)
	ta, ra, ca := blasSide(a.TransA, s.M, s.K)
	tb, rb, cb := blasSide(a.TransB, s.K, s.N)
	return func() {
		for i := range offA {
			blas32.Gemm(ta, tb, 1,
				blas32.General{Rows: ra, Cols: ca, Stride: ca, Data: x[offA[i]:]},
				blas32.General{Rows: rb, Cols: cb, Stride: cb, Data: w[offB[i]:]}, 0,
				blas32.General{Rows: s.M, Cols: s.N, Stride: s.N, Data: sums[i*s.M*s.N:]})
		}
		for p := range sums {
			v := sums[p]
			if bias != nil {
				v += bias[p%s.N]
			}
			if keep != nil {
				keep[p] = v
				if a.Slope {
					keep[p] = float32(activateGrad(a.Act, float64(v)))
				}
			}
			if a.Act != "" {
				v = float32(activate(a.Act, float64(v)))
			}
			if pre != nil {
				v *= float32(activateGrad(a.ActGrad, float64(pre[p])))
			}
			if residual != nil {
				v += residual[p]
			}
			y[p] = v
		}
	}
}

// blasSide describes a (rows,cols) factor that is stored transposed or not.
func blasSide(trans bool, rows, cols int) (t blas.Transpose, r, c int) {
	if trans {
		return blas.Trans, cols, rows
	}
	return blas.NoTrans, rows, cols
}

func floats(v View) []float32 { return tensor.View[float32](v.Bytes) }
