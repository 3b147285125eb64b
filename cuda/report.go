//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"os"

	"gorgonia.org/cu"

	"ringo/cuda/blas"
	"ringo/cuda/driver"
	"ringo/cuda/nccl"
	"ringo/cuda/soft"
)

// Finding is one line about this machine: what was looked for, what was found, and what to do where it is missing.
type Finding struct {
	Name, Found string
	OK          bool
	Hint        string
}

// Report says what there is for CUDA on this machine, and what each part enables. It opens the system's driver, so the
// software device cannot be opened in this process afterwards where there is one.
func Report() []Finding {
	list := []Finding{driverFinding()}
	if list[0].OK {
		n, _ := cu.NumDevices()
		for i := range n {
			list = append(list, gpuFinding(i))
		}
	}
	return append(list, blasFinding(), ncclFinding(), cudnnFinding(), managementFinding(), softFinding())
}

// Devices is the number of GPUs of this machine that ringo runs on, counted up to the first that it does not, and if there is
// none, why. As Report it opens the system's driver.
func Devices() (int, error) {
	if err := driver.Open(""); err != nil {
		return 0, fmt.Errorf("%w%s", err, hidden())
	}
	n, err := cu.NumDevices()
	for i := range n {
		if err = usable(cu.Device(i), false); err != nil {
			return i, err
		}
	}
	if n == 0 && err == nil {
		err = errors.New("the driver has no GPU" + hidden())
	}
	return n, err
}

func driverFinding() Finding {
	f := Finding{Name: "cuda driver"}
	if err := driver.Open(""); err != nil {
		f.Found = err.Error()
		f.Hint = "training runs on the CPU; on a machine with an NVIDIA GPU install its driver, in a container start it with --gpus all"
		if h := hidden(); h != "" {
			f.Found, f.Hint = f.Found+h, "training runs on the CPU; unset CUDA_VISIBLE_DEVICES, or list in it the GPUs to be used, such as 0,1"
		}
		return f
	}
	v := cu.Version()
	f.Found, f.OK = fmt.Sprintf("libcuda.so.1 for CUDA %d.%d", v/1000, v%1000/10), v >= leastDriver
	if !f.OK {
		f.Hint = "the kernels need a driver for CUDA 12.0 or newer: update it"
	}
	return f
}

func gpuFinding(i int) Finding {
	f := Finding{Name: fmt.Sprintf("device cuda:%d", i)}
	b, err := Open(fmt.Sprint(i), "")
	if err != nil {
		f.Found = err.Error()
		return f
	}
	f.Found, f.OK = b.Describe(), true
	if err := b.Close(); err != nil {
		f.OK, f.Found = false, errors.Join(err).Error()
	}
	return f
}

func blasFinding() Finding {
	l, err := blas.Open()
	if err != nil {
		return Finding{Name: "cuBLASLt", Found: err.Error(), Hint: "matrix products run on ringo's own, slower kernels; " +
			"install cuBLAS 12 or 13 (libcublasLt.so, or pip install nvidia-cublas), or name the file in " + blas.EnvLibrary}
	}
	return Finding{Name: "cuBLASLt", Found: l.String() + ", for matrix products", OK: true}
}

func ncclFinding() Finding {
	l, err := nccl.Open(os.Getenv(nccl.EnvLibrary))
	if err != nil {
		return Finding{Name: "NCCL", Found: err.Error(), OK: true,
			Hint: "several GPUs sum gradients through host memory (--collective ring); NCCL 2.14 or newer (libnccl.so.2) lets them do it themselves"}
	}
	return Finding{Name: "NCCL", Found: l.String() + ", for sums of gradients between GPUs (--collective nccl)", OK: true}
}

func cudnnFinding() Finding {
	l, err := driver.OpenLibrary("libcudnn.so.9", "libcudnn.so.8", "libcudnn.so")
	if err != nil {
		return Finding{Name: "cuDNN", Found: "not installed; nothing here needs it", OK: true}
	}
	v, _ := l.Version("cudnnGetVersion")
	return Finding{Name: "cuDNN", Found: fmt.Sprintf("version %d; nothing here needs it", v), OK: true}
}

func managementFinding() Finding {
	v, err := managementVersion()
	if err != nil {
		return Finding{Name: "NVML", Found: err.Error(), Hint: "metrics lack the GPU's use, power and temperature; the library comes with the driver"}
	}
	return Finding{Name: "NVML", Found: "display driver " + v + ", for the GPU's use, power and temperature in metrics", OK: true}
}

func softFinding() Finding {
	path, err := soft.Library()
	if err != nil {
		return Finding{Name: "device soft", Found: "not here, and only tests need it", OK: true}
	}
	return Finding{Name: "device soft", Found: "a software simulation of a CUDA device, for tests: " + path, OK: true}
}
