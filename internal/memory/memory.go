// Package memory gives back to the system what a process does not need at the moment. It must not know whose memory it is.
package memory

import "runtime/debug"

// Settle is called once, where a process has set itself up and its long work begins. It collects what setting up left, returns
// the free memory of the heap, and lets go of the pages of the program's file: much of the code and of its tables runs at
// start alone, and Linux maps pages by the folio (up to 2 MB where the file was written lately), so that nearly the whole file is
// resident then. What is needed again comes back from the page cache, at a microsecond or less a page. It takes 2 ms where the heap is small.
func Settle() {
	debug.FreeOSMemory()
	releaseProgram()
}

// Available is how many bytes this process can still take before the system is short of memory, as far as that is known: of the
// machine, and of the control groups that the process is in.
func Available() (bytes int64, known bool) { return available() }
