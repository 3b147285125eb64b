//go:build cgo

package kernels

// #cgo CFLAGS: -O3 -std=gnu11 -Wall -Wno-unknown-pragmas -Wno-unused-function
// #cgo LDFLAGS: -lm -lpthread
// #include "rg.h"
import "C"

// initCPU starts the C thread pool; maxISA caps the instruction-set level.
func initCPU(maxISA, threads int) { C.rg_init(C.int(maxISA), C.int(threads)) }

// isaLevel returns the level in use.
func isaLevel() int { return int(C.rg_isa) }

func threads() int { return int(C.rg_threads()) }
