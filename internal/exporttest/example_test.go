package exporttest_test

import (
	"fmt"

	"ringo/internal/exporttest"
)

// In a test, Random makes the model and its weights, and Run its inputs and outputs:
//
//	m, w := exporttest.Random(t, exporttest.Configs["gpt"], 1)
//	inputs, logits := exporttest.Run(t, m, w, 2, 5)
func Example() {
	c := exporttest.Configs["gpt"]
	fmt.Println(c.Name, c.Layers, c.Width)
	// Output: gpt 2 32
}
