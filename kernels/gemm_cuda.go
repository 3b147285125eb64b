//go:build cuda

package kernels

import "ringo/runtime/tensor"

// Gemm describes C ← α·op(A)·op(B) + β·Add + bias for a device's library, in row-major terms, per batch entry:
// op(A) is (M,K), op(B) is (K,N), C is (M,N). Sums are f32; A and B have one type, C has its own.
type Gemm struct {
	M, N, K        int
	TransA, TransB bool // A is stored as (K,M); B as (N,K)
	A, B, C        uint64
	Bias           uint64       // (N) of C's type, Null for none
	In, Out        tensor.DType // of A and B; of C
	LDA, LDB, LDC  int          // elements between stored rows
	Batch          int
	StepA, StepB   int64 // elements between batch entries; 0 where all share one
	StepC          int64
	Alpha, Beta    float32
	Add            uint64       // what Beta multiplies, laid out as C; Null is C itself
	Round          tensor.DType // BF16 lets f32 factors be rounded, F32 does not
	Gelu           bool         // gelu, tanh form, on α·op(A)·op(B) + bias
	DGelu          bool         // times gelu', tanh form, of Aux
	Sums           uint64       // (N) of C's type: Σ over K of op(B), stored beside; with nothing else at the end
	Aux            uint64       // Gelu: where its input is kept, Null for nowhere; DGelu: that input. Laid out as C
}
