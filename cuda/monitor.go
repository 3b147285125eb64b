//go:build cuda

package cuda

import (
	"fmt"
	"math"
	"sync"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"ringo/runtime/backend"
)

// management opens NVML once. Any other call of go-nvml after Init failed ends the process, so every use starts here.
var management = sync.OnceValue(func() error {
	r := nvml.Init()
	if r == nvml.ERROR_LIBRARY_NOT_FOUND { // where containers have it whose image does not tell the loader
		if err := nvml.SetLibraryOptions(nvml.WithLibraryPath("/usr/local/nvidia/lib64/libnvidia-ml.so.1")); err == nil {
			r = nvml.Init()
		}
	}
	if r != nvml.SUCCESS {
		return fmt.Errorf("no NVML (libnvidia-ml.so.1): code %d", int(r)) // not nvml.ErrorString: it needs the library
	}
	return nil
})

var _ backend.Monitor = (*Backend)(nil)

// Usage reads the GPU's own sensors; false where there is no NVML, or no GPU.
func (b *Backend) Usage() (backend.Usage, bool) {
	if b.d.soft || management() != nil {
		return backend.Usage{}, false
	}
	id, err := b.d.ordinal.UUID()
	if err != nil {
		return backend.Usage{}, false
	}
	h, r := nvml.DeviceGetHandleByUUID("GPU-" + id.String())
	if r != nvml.SUCCESS {
		return backend.Usage{}, false
	}
	u := backend.Usage{Busy: math.NaN(), PowerW: math.NaN(), TemperatureC: math.NaN()}
	if rates, r := h.GetUtilizationRates(); r == nvml.SUCCESS {
		u.Busy = float64(rates.Gpu) / 100
	}
	if m, r := h.GetMemoryInfo(); r == nvml.SUCCESS {
		u.MemoryBytes = int64(m.Used)
	}
	if mw, r := h.GetPowerUsage(); r == nvml.SUCCESS {
		u.PowerW = float64(mw) / 1000
	}
	if c, r := h.GetTemperature(nvml.TEMPERATURE_GPU); r == nvml.SUCCESS {
		u.TemperatureC = float64(c)
	}
	return u, true
}

// managementVersion is the display driver's version as NVML tells it.
func managementVersion() (string, error) {
	if err := management(); err != nil {
		return "", err
	}
	v, r := nvml.SystemGetDriverVersion()
	if r != nvml.SUCCESS {
		return "", fmt.Errorf("NVML answers with code %d", int(r))
	}
	return v, nil
}
