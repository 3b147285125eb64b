package soft_test

import (
	"fmt"

	"ringo/cuda/soft"
)

// The library is looked for beside the binary and in the source tree.
func ExampleLibrary() {
	path, err := soft.Library()
	fmt.Println(path != "" || err != nil)
	// Output: true
}
