package quant

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas"
	blasgonum "gonum.org/v1/gonum/blas/gonum"
	lapackgonum "gonum.org/v1/gonum/lapack/gonum"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// gptqMost bounds the inputs per output of a layer that is rounded by GPTQ: its matrices grow with the square. Layers
// with more round to nearest.
const gptqMost = 4096

// gptqPatches bounds the patches of images that second moments are estimated from, spread over all images of the sample.
const gptqPatches = 4096

// gptq returns the rounding of Frantar et al. 2023 (algorithm 1): inputs of a layer are rounded one after the other, and
// the error of each is made up for in those that follow, by the inverse of H = 2·XᵀX of the layer's inputs X:
//
//	q[i] = round(w[i]),  w[j] −= (w[i] − q[i])/U[i,i] · U[i,j] for j > i,  U upper with UᵀU = H⁻¹.
func gptq(sample *tensor.Tensor, n *graph.Node) func(w *tensor.Tensor, axis int, scales []float32) (*tensor.Tensor, error) {
	return func(w *tensor.Tensor, axis int, scales []float32) (*tensor.Tensor, error) {
		outs := w.Shape[axis]
		k := w.Shape.Size() / outs
		conv, isConv := n.Attrs.(graph.Conv2D)
		if k > gptqMost || (isConv && conv.Norm().Groups > 1) {
			return nil, nil
		}
		rows := inputRows(sample, n, k)
		upper, err := inverseFactor(rows, k)
		if err != nil {
			return nil, err
		}
		q := tensor.New(tensor.I8, w.Shape...)
		src, dst := tensor.Data[float32](w), tensor.Data[int8](q)
		at := func(i, o int) int { // input i of output o
			if axis == 0 {
				return o*k + i
			}
			return i*outs + o
		}
		left := make([]float64, k)
		for o := range outs {
			for i := range left {
				left[i] = float64(src[at(i, o)])
			}
			s := float64(scales[o])
			for i := range left {
				r := nearest(left[i] / s)
				dst[at(i, o)] = int8(r)
				wrong := (left[i] - r*s) / upper[i*k+i]
				for j := i + 1; j < k; j++ {
					left[j] -= wrong * upper[i*k+j]
				}
			}
		}
		return q, nil
	}
}

// inputRows are the layer's inputs, one row of k numbers per result: the rows of a matrix, the patches of an image.
func inputRows(sample *tensor.Tensor, n *graph.Node, k int) []float64 {
	x := sample.Float64s()
	a, ok := n.Attrs.(graph.Conv2D)
	if !ok {
		return x
	}
	a = a.Norm()
	xs, w := sample.Shape, n.In[1].Shape
	y, err := a.OutShape(xs, w)
	if err != nil {
		return nil
	}
	total := xs[0] * y[2] * y[3]
	count := min(total, gptqPatches)
	stride := total / max(1, count)
	for gcd(stride, total) != 1 { // else some columns or rows of the images would never be met
		stride++
	}
	out := make([]float64, count*k)
	for p := range count {
		at := p * stride % total
		col, row, img := at%y[3], at/y[3]%y[2], at/(y[2]*y[3])
		for t := range k {
			v, r, c := t%w[3], t/w[3]%w[2], t/(w[3]*w[2])
			h, q := row*a.Stride[0]+r*a.Dilation[0]-a.Pad[0], col*a.Stride[1]+v*a.Dilation[1]-a.Pad[1]
			if h >= 0 && h < xs[2] && q >= 0 && q < xs[3] {
				out[p*k+t] = x[((img*xs[1]+c)*xs[2]+h)*xs[3]+q]
			}
		}
	}
	return out
}

// inverseFactor returns U, upper triangular with UᵀU = (XᵀX + λI)⁻¹; λ is a hundredth of the mean diagonal, as in GPTQ.
// Routines of BLAS and LAPACK are called by name: through gonum's interfaces the linker would keep all of them.
func inverseFactor(rows []float64, k int) ([]float64, error) {
	u := make([]float64, k*k)
	blasgonum.Implementation{}.Dsyrk(blas.Upper, blas.Trans, k, len(rows)/k, 1, rows, k, 0, u, k)
	mean := 0.0
	for i := range k {
		mean += u[i*k+i] / float64(k)
	}
	if mean == 0 {
		mean = 1
	}
	for i := range k {
		u[i*k+i] += 0.01 * mean
	}
	var lapack lapackgonum.Implementation
	if !lapack.Dpotrf(blas.Upper, k, u, k) || !lapack.Dpotri(blas.Upper, k, u, k) {
		return nil, fmt.Errorf("the inputs' second moments cannot be factored; use more calibration data or leave GPTQ out")
	}
	if !lapack.Dpotrf(blas.Upper, k, u, k) {
		return nil, fmt.Errorf("the inverse of the inputs' second moments cannot be factored; leave GPTQ out")
	}
	for i := range k {
		if u[i*k+i] == 0 || math.IsNaN(u[i*k+i]) {
			return nil, fmt.Errorf("a pivot is %v", u[i*k+i])
		}
	}
	return u, nil
}
