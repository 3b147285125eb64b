package exporttest_test

import (
	"fmt"

	"ringo/export/exporttest"
)

func Example() {
	c := exporttest.Configs["gpt"]
	fmt.Println(c.Name, c.Layers, c.Width)
	// In a test:
	//   m, w := exporttest.Random(t, c, 1)
	//   inputs, logits := exporttest.Run(t, m, w, 2, 5)
	// Output: gpt 2 32
}
