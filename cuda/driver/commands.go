//go:build cuda

package driver

// #cgo noescape ringo_run_commands
// #cgo nocallback ringo_run_commands
// #cgo noescape ringo_capture_commands
// #cgo nocallback ringo_capture_commands
// #cgo noescape ringo_replay
// #cgo nocallback ringo_replay
// #include <stdlib.h>
// #include <string.h>
// #include "commands.h"
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// Commands is a list of device commands in memory of its own. It grows while a program is bound and is then
// run, or captured, any number of times; running allocates nothing. It is not safe for concurrent use.
type Commands struct {
	list     []C.ringo_command // C memory
	length   int
	params   []unsafe.Pointer // what Close frees
	failed   C.long
	capacity int
}

// Len is the number of commands.
func (l *Commands) Len() int { return l.length }

// add returns the next command, zeroed.
func (l *Commands) add() *C.ringo_command {
	if l.length == l.capacity {
		grown := max(64, 2*l.capacity)
		mem := C.realloc(unsafe.Pointer(unsafe.SliceData(l.list)), C.size_t(grown)*C.sizeof_ringo_command)
		l.list, l.capacity = unsafe.Slice((*C.ringo_command)(mem), grown), grown
	}
	c := &l.list[l.length]
	*c = C.ringo_command{}
	l.length++
	return c
}

// Launch appends a kernel launch. args are the arguments' bytes, laid end to end, and sizes their lengths.
func (l *Commands) Launch(f cu.Function, grid, block [3]uint32, shared uint32, args []byte, sizes []int) {
	c := l.add()
	c.kind, c.function, c.shared = C.RINGO_LAUNCH, (C.CUfunction)(handle(f)), C.uint32_t(shared)
	for i := range 3 {
		c.grid[i], c.block[i] = C.uint32_t(grid[i]), C.uint32_t(block[i])
	}
	// Each argument starts on 16 bytes, more than any of them needs.
	const slot = 16
	head := len(sizes) * 8
	total := (head + slot - 1) / slot * slot
	for _, n := range sizes {
		total += (n + slot - 1) / slot * slot
	}
	mem := C.aligned_alloc(slot, C.size_t(max(slot, total)))
	C.memset(mem, 0, C.size_t(max(slot, total)))
	pointers := unsafe.Slice((*unsafe.Pointer)(mem), len(sizes))
	at := (head + slot - 1) / slot * slot
	for i, n := range sizes {
		pointers[i] = unsafe.Add(mem, at)
		copy(unsafe.Slice((*byte)(pointers[i]), n), args[:n])
		args, at = args[n:], at+(n+slot-1)/slot*slot
	}
	l.params = append(l.params, mem)
	c.params = (*unsafe.Pointer)(mem)
}

// Fill appends: n bytes at dst become value.
func (l *Commands) Fill(dst uint64, value byte, n int64) {
	c := l.add()
	c.kind, c.dst, c.value, c.bytes = C.RINGO_FILL, C.uint64_t(dst), C.uint32_t(value), C.uint64_t(n)
}

// Copy appends a copy of n bytes within the device.
func (l *Commands) Copy(dst, src uint64, n int64) {
	c := l.add()
	c.kind, c.dst, c.src, c.bytes = C.RINGO_COPY, C.uint64_t(dst), C.uint64_t(src), C.uint64_t(n)
}

// Call appends a library's own launch: call has the C type int (*)(void *what, CUstream).
func (l *Commands) Call(call, what unsafe.Pointer) {
	c := l.add()
	c.kind, c.what = C.RINGO_CALL, what
	c.call = (*[0]byte)(call)
}

// Failure is a command that the driver refused.
type Failure struct {
	Command int // index in the list
	Err     error
}

func (e *Failure) Error() string { return fmt.Sprintf("command %d: %v", e.Command, e.Err) }
func (e *Failure) Unwrap() error { return e.Err }

func (l *Commands) check(rc C.CUresult) error {
	if rc == C.CUDA_SUCCESS {
		return nil
	}
	return &Failure{int(l.failed), Result(int(rc))}
}

// Run enqueues commands [from,to) on a stream of the context.
func (l *Commands) Run(from, to int, ctx cu.CUContext, s cu.Stream) error {
	return l.check(C.ringo_run_commands(unsafe.SliceData(l.list), C.long(from), C.long(to), (C.CUcontext)(handle(ctx)), (C.CUstream)(handle(s)), &l.failed))
}

// Graph is a captured list of commands.
type Graph struct{ exec C.CUgraphExec }

// Capture records commands [from,to) into a graph. The calling goroutine must hold its OS thread.
func (l *Commands) Capture(from, to int, ctx cu.CUContext, s cu.Stream) (*Graph, error) {
	g := &Graph{}
	var exec C.CUgraphExec
	err := l.check(C.ringo_capture_commands(unsafe.SliceData(l.list), C.long(from), C.long(to), (C.CUcontext)(handle(ctx)), (C.CUstream)(handle(s)), &exec, &l.failed))
	g.exec = exec
	return g, err
}

// Replay enqueues the graph.
func (g *Graph) Replay(ctx cu.CUContext, s cu.Stream) error {
	return Result(int(C.ringo_replay(g.exec, (C.CUcontext)(handle(ctx)), (C.CUstream)(handle(s)))))
}

// Close destroys the graph.
func (g *Graph) Close() error { return Result(int(C.cuGraphExecDestroy(g.exec))) }

// Close frees the list.
func (l *Commands) Close() {
	for _, p := range l.params {
		C.free(p)
	}
	C.free(unsafe.Pointer(unsafe.SliceData(l.list)))
	*l = Commands{}
}
