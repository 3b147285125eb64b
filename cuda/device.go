//go:build cuda

package cuda

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"gorgonia.org/cu"

	"ringo/cuda/driver"
	"ringo/kernels"
)

// device is one GPU with its primary context, two streams and the kernels that were asked for. Its driver calls
// run between enter and leave: on a locked OS thread, with the context current, one goroutine at a time.
type device struct {
	sync.Mutex
	ordinal   cu.Device
	soft      bool
	ungraphed bool // programs run command by command
	name      string
	ctx       cu.CUContext
	compute   cu.Stream // programs
	copies    cu.Stream // inputs on their way to the device
	modules   []cu.Module
	functions map[string]*function
	info      kernels.DeviceInfo
	bandwidth float64 // of its memory by its clock, in bytes per second; 0 where it does not say
	products  products
	versions  versions
	small     *driver.Pinned // numbers on their way to or from the host
	lost      bool           // its context broke: see fault
}

// EnvGraphs, set to 0, has programs run command by command. With the driver's own CUDA_LAUNCH_BLOCKING=1 a kernel that fails is then
// named; in a graph, all that is known is that one of hundreds did.
const EnvGraphs = "RINGO_CUDA_GRAPHS"

// smallBytes is the size of device.small: losses, norms, optimizer numbers.
const smallBytes = 256

// sharedByDefault is what a block may have of shared memory, static and dynamic together, unless a kernel asks for more.
const sharedByDefault = 48 << 10

// function is a kernel as the driver knows it.
type function struct {
	handle  cu.Function
	params  []int // sizes of its parameters, where known
	checked bool
	shared  int // dynamic shared memory that it may ask for
	static  int // shared memory that it has anyway
}

// openDevice takes a device of the driver that is open and loads the kernels' images.
func openDevice(ordinal int, soft bool) (*device, error) {
	n, err := cu.NumDevices()
	if err != nil {
		return nil, fmt.Errorf("counting devices: %w", err)
	}
	if ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("device %d does not exist: this machine has %d, numbered from 0%s", ordinal, n, hidden())
	}
	if err := usable(cu.Device(ordinal), soft); err != nil {
		return nil, fmt.Errorf("device %d: %w", ordinal, err)
	}
	d := &device{ordinal: cu.Device(ordinal), soft: soft, functions: map[string]*function{}, ungraphed: os.Getenv(EnvGraphs) == "0"}
	if d.ctx, err = d.ordinal.RetainPrimaryCtx(); err != nil {
		return nil, fmt.Errorf("device %d: %w", ordinal, explained(err))
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer d.leave()
	if err := d.describe(); err != nil {
		return nil, err
	}
	if d.compute, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return nil, err
	}
	if d.copies, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return nil, err
	}
	if d.small, err = driver.NewPinned(smallBytes); err != nil {
		return nil, err
	}
	images, err := images(d.info.Capability, soft)
	if err != nil {
		return nil, err
	}
	for _, image := range images {
		m, err := cu.LoadData(image)
		if err != nil {
			return nil, fmt.Errorf("loading the kernels on %s: %w; its driver may be older than the CUDA that compiled them: scripts/cuda.sh which names it", d.name, err)
		}
		d.modules = append(d.modules, m)
	}
	if err := d.openVersions(); err != nil {
		return nil, err
	}
	return d, d.openProducts()
}

// hidden says that CUDA_VISIBLE_DEVICES may keep devices from this process, "" where it is not set.
func hidden() string {
	v, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	if !set {
		return ""
	}
	return fmt.Sprintf(" (CUDA_VISIBLE_DEVICES is %q: the driver shows only what it lists)", v)
}

// What the kernels need: a driver, as CUDA numbers versions, and a compute capability, times ten.
const leastDriver, leastCapability = 12000, 80

// usable says why a device cannot run the kernels. The software device brings its own.
func usable(d cu.Device, soft bool) error {
	if v := cu.Version(); v < leastDriver {
		return fmt.Errorf("its driver is for CUDA %d.%d, the kernels need one for CUDA 12.0 or newer: update the driver (525 or newer)", v/1000, v%1000/10)
	}
	major, err := d.Attribute(cu.ComputeCapabilityMajor)
	if err != nil {
		return err
	}
	minor, err := d.Attribute(cu.ComputeCapabilityMinor)
	capability := 10*major + minor
	if err == nil && capability < leastCapability {
		err = fmt.Errorf("its compute capability is %d.%d, the kernels need 8.0 or newer (Ampere and later): use --device cpu", major, minor)
	}
	if err == nil && !soft {
		_, err = imageFiles(capability)
	}
	return err
}

func (d *device) describe() (err error) {
	if d.name, err = d.ordinal.Name(); err != nil {
		return err
	}
	for i := range d.name { // the driver fills a buffer; what follows the first NUL is not name
		if d.name[i] == 0 {
			d.name = d.name[:i]
			break
		}
	}
	get := func(a cu.DeviceAttribute) (v int) {
		if err == nil {
			v, err = d.ordinal.Attribute(a)
		}
		return v
	}
	d.info = kernels.DeviceInfo{
		SMs: get(cu.MultiprocessorCount), Shared: get(maxSharedOptin),
		Capability: 10*get(cu.ComputeCapabilityMajor) + get(cu.ComputeCapabilityMinor),
	}
	// No PTX that ships has products of warpgroups.
	d.info.Warpgroups = d.soft && !interpreted() || d.info.Capability == hopper
	const kilohertz, twice = 1e3, 2 // two transfers per clock
	d.bandwidth = twice * kilohertz * float64(get(cu.MemoryClockRate)) * float64(get(cu.GlobalMemoryBusWidth)) / 8
	return err
}

// maxSharedOptin is CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN.
const maxSharedOptin = cu.DeviceAttribute(97)

// enter locks the device and the OS thread and makes the context current.
func (d *device) enter() error {
	d.Lock()
	runtime.LockOSThread()
	if err := cu.SetCurrentContext(d.ctx); err != nil && !d.lost { // of a lost one, what follows says so, or asks for nothing
		err = d.fault(err)
		d.leave()
		return err
	}
	return nil
}

func (d *device) leave() {
	runtime.UnlockOSThread()
	d.Unlock()
}

// function looks a kernel up in the images.
func (d *device) function(name string) (*function, error) {
	if f := d.functions[name]; f != nil {
		return f, nil
	}
	for _, m := range d.modules {
		h, err := m.Function(name)
		if err != nil {
			continue
		}
		f := &function{handle: h}
		if err := driver.Load(h); err != nil {
			return nil, fmt.Errorf("kernel %s: loading its code: %w", name, err)
		}
		if f.static, err = driver.StaticShared(h); err != nil {
			return nil, fmt.Errorf("kernel %s: %w", name, err)
		}
		f.params, f.checked = driver.ParamSizes(h)
		f.shared = sharedByDefault - f.static
		d.functions[name] = f
		return f, nil
	}
	return nil, fmt.Errorf("kernel %q is in no image: build the kernels again (make cuda)", name)
}

// allocate returns device memory, filled with zeros where zero is set. It is called between enter and leave.
func (d *device) allocate(bytes int64, zero bool) (uint64, error) {
	if bytes == 0 {
		return 0, nil
	}
	p, err := cu.MemAlloc(bytes)
	if err != nil {
		return 0, err
	}
	if zero {
		err = cu.MemsetD8Async(p, 0, bytes, d.compute)
	}
	return uint64(p), err
}

func (d *device) free(p uint64) error {
	if p == 0 {
		return nil
	}
	return cu.MemFree(cu.DevicePtr(p))
}
