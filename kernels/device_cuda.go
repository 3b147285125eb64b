//go:build cuda

package kernels

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"unsafe"

	"ringo/runtime/graph"
	"ringo/runtime/tensor"
)

// DeviceView is typed memory on a device: one input or output of a call. Tensors start on 64 bytes.
type DeviceView struct {
	graph.Type
	Ptr uint64
}

// Null is the argument of a kernel's pointer that is not used.
const Null = uint64(0)

// Dim3 is the size of a grid, in blocks, or of a block, in threads.
type Dim3 struct{ X, Y, Z uint32 }

// DeviceInfo is what a binding may adapt its launches to. The order of a sum must not depend on it where
// results should agree between devices.
type DeviceInfo struct {
	SMs        int  // multiprocessors
	Shared     int  // largest dynamic shared memory of a block, in bytes
	Capability int  // compute capability, 10·major + minor
	Warpgroups bool // it has wgmma: compute capability 9.0 and no other
}

// DeviceCall is one instruction bound to device memory. An op's binding describes the kernels that compute it;
// it runs when a program is compiled, twice (once to count scratch memory), and must do the same both times.
type DeviceCall struct {
	Op        string
	Attrs     any
	In, Out   []DeviceView
	Precision tensor.DType // what matrix products may round their factors to: F32 or BF16
	Device    DeviceInfo
	Queue     Queue
}

// Queue receives what a binding describes, in the order in which the device does it.
type Queue interface {
	// Launch adds a kernel; args are its arguments' bytes end to end, sizes their lengths.
	Launch(kernel string, grid, block Dim3, shared int, args []byte, sizes []int) error
	// Fill sets n bytes at dst to value.
	Fill(dst uint64, value byte, n int64)
	// Copy copies n bytes within the device.
	Copy(dst, src uint64, n int64)
	// Scratch returns n bytes that are this call's own until it ends; 256-aligned, not zeroed.
	Scratch(n int64) uint64
	// Gemm adds a matrix product by the device's library; false where there is none or it does not take this one.
	Gemm(g *Gemm) bool
	// Fastest adds one of several versions of call c.
	Fastest(c *DeviceCall, v *Versions) error
}

// ErrNoKernel is what a binding returns, through Uncovered, for types or shapes that it has no kernel for.
var ErrNoKernel = errors.New("no CUDA kernel")

// Uncovered says that the op has no kernel for these types.
func (c *DeviceCall) Uncovered() error {
	var in []graph.Type
	for _, v := range c.In {
		in = append(in, v.Type)
	}
	return fmt.Errorf("%w for %s of %v", ErrNoKernel, c.Op, in)
}

// Launch adds a kernel. Arguments are DeviceView (its address), uint64 (an address), int32, uint32, int64,
// float32, or a struct by value laid out as in C; the kernel's parameters must have the same sizes.
func (c *DeviceCall) Launch(kernel string, grid, block Dim3, shared int, args ...any) error {
	var raw []byte
	var sizes []int
	for i, a := range args {
		b := argument(i, a)
		raw, sizes = append(raw, b...), append(sizes, len(b))
	}
	return c.Queue.Launch(kernel, grid, block, shared, raw, sizes)
}

// argument returns the bytes of a launch argument.
func argument(i int, a any) []byte {
	if v, ok := a.(DeviceView); ok {
		a = v.Ptr
	}
	v := reflect.ValueOf(a)
	switch v.Kind() {
	case reflect.Uint64, reflect.Int32, reflect.Uint32, reflect.Int64, reflect.Float32, reflect.Struct:
	default:
		panic(fmt.Sprintf("kernels: launch argument %d is %T: write int32, uint32, int64, uint64, float32, a view or a struct", i, a))
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return slices.Clone(unsafe.Slice((*byte)(p.UnsafePointer()), v.Type().Size()))
}

// Scratch returns n bytes that are this call's own until it ends; 256-aligned, not zeroed.
func (c *DeviceCall) Scratch(n int64) uint64 { return c.Queue.Scratch(n) }

// Device binds a call: it describes its launches, or returns Uncovered.
type Device func(c *DeviceCall) error

var devices = map[string]Device{}

func registerDevice(op string, d Device) {
	if devices[op] != nil {
		panic("kernels: CUDA version of " + op + " registered twice")
	}
	devices[op] = d
}

// BindDevice describes the launches of a call.
func BindDevice(c *DeviceCall) error {
	d := devices[c.Op]
	if d == nil {
		return fmt.Errorf("%w for %s", ErrNoKernel, c.Op)
	}
	return d(c)
}

// DeviceOps lists the ops that have a CUDA version.
func DeviceOps() []string {
	var out []string
	for op := range devices {
		out = append(out, op)
	}
	sort.Strings(out)
	return out
}

// Block is a one-dimensional block.
func Block(threads int) Dim3 { return Dim3{uint32(threads), 1, 1} }

// Grid is a grid of blocks.
func Grid(x int, yz ...int) Dim3 {
	g := Dim3{uint32(x), 1, 1}
	if len(yz) > 0 {
		g.Y = uint32(yz[0])
	}
	if len(yz) > 1 {
		g.Z = uint32(yz[1])
	}
	return g
}

// Strided is the grid of a grid-stride loop over n items by blocks of `threads`: one item per thread, up to 16
// blocks per multiprocessor.
func (c *DeviceCall) Strided(n int64, threads int) Dim3 {
	blocks := ceilDiv(n, int64(threads))
	return Grid(int(max(1, min(blocks, int64(16*c.Device.SMs)))))
}

func ceilDiv[T int | int64](a, b T) T { return (a + b - 1) / b }

// suffix names a float type in kernel names: _f32 or _bf16; false for types that kernels do not take.
func suffix(d tensor.DType) (string, bool) {
	switch d {
	case tensor.F32:
		return "_f32", true
	case tensor.BF16:
		return "_bf16", true
	}
	return "", false
}
