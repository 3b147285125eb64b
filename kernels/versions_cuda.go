//go:build cuda

package kernels

import "ringo/runtime/graph"

// Names of versions: instructions of sm_80, and those of compute capability 9.0 alone.
const VersionMMA, VersionWGMMA = "mma", "wgmma"

// Versions are several ways to compute one call, whose results agree but for rounding. The first one runs everywhere; the others
// were written without the hardware that they are for, or are faster only for some shapes. Which one a device takes is decided
// there, by a trial.
type Versions struct {
	Key   string // the op and its sizes, as far as they matter
	List  []Version
	Trial Trial
}

// Version is one of them.
type Version struct {
	Name   string
	Launch func() error // describes its launches, as a binding does
}

// Trial is a call like the one to be decided on, on memory of its own: random inputs, of a size that keeps a GPU busy.
type Trial struct {
	In, Out []graph.Type
	// Before, where it is set, returns a call that makes some of the inputs from others.
	Before func(in []DeviceView) *DeviceCall
}

// Fastest adds the version of this call that the device takes.
func (c *DeviceCall) Fastest(v *Versions) error { return c.Queue.Fastest(c, v) }
