package quant_test

import (
	"fmt"

	"ringo/export/quant"
	"ringo/runtime/tensor"
)

// The range −1…3 in u8: 255 steps, with 0 on one of them.
func ExampleRange_Quantizer() {
	scale, zero := quant.Range{Lo: -1, Hi: 3}.Quantizer(tensor.U8)
	fmt.Printf("%.6f %d\n", scale, zero)
	fmt.Println(quant.Methods())
	// Output:
	// 0.015686 64
	// [minmax percentile mse entropy]
}
