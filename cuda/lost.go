//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
)

// fatal are the results that a context does not survive: every later call in it gives the same one, and only a new process can
// use the device again.
var fatal = results(cu.IllegalAddress, cu.LaunchTimeout, cu.Assert, cu.HardwareStackError, cu.IllegalInstruction,
	cu.MisalignedAddress, cu.InvalidAddressSpace, cu.InvalidPc, cu.LaunchFailed, cu.EccUncorrectable, cu.NvlinkUncorrectable)

// results are codes as gorgonia.org/cu returns them and as our own calls do.
func results[T interface {
	error
	~int
}](codes ...T) (all []error) {
	for _, c := range codes {
		all = append(all, c, driver.Error(c))
	}
	return all
}

// fault says of a fatal result what it means, and remembers it, so that nothing asks the driver for its memory back. A GPU tells
// of it at some later call, whose name would mislead: it is left out. Other errors, and nil, stay as they are. It is called
// between enter and leave.
func (d *device) fault(err error) error {
	at := slices.IndexFunc(fatal, func(f error) bool { return errors.Is(err, f) })
	if at < 0 {
		return err
	}
	d.lost = true
	what := "GPU"
	if d.soft {
		what = "software device"
	}
	return fmt.Errorf("cuda: %s %d (%s) broke off its work: %w; this process cannot use it any more, a new one can: start again, training with --resume; "+
		"where it comes back, nvidia-smi -q and lines with Xid in dmesg say whether the GPU is at fault", what, int(d.ordinal), d.name, fatal[at|1])
}

// deviceBusy is CUDA_ERROR_DEVICE_UNAVAILABLE, newer than gorgonia.org/cu.
const deviceBusy = driver.Error(46)

// explained gives a result of gorgonia.org/cu, for some of which that package has no text, the driver's own text, and
// says what to do about a GPU that another process has.
func explained(err error) error {
	if v := reflect.ValueOf(err); v.Kind() == reflect.Int {
		err = driver.Error(v.Int())
	}
	if errors.Is(err, deviceBusy) {
		return fmt.Errorf("%w; another process may have it for itself: nvidia-smi names the process and the compute mode, and in mode Default several share a GPU", err)
	}
	return err
}
