package memory_test

import (
	"fmt"
	"strings"

	"ringo/internal/memory"
)

// A process that is set up lets go of what only its start needed.
func ExampleSettle() {
	words := len(strings.Fields(strings.Repeat("set up ", 1<<16)))
	memory.Settle()
	fmt.Println(words, "words counted, their text is gone")
	// Output: 131072 words counted, their text is gone
}
