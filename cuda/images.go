//go:build cuda

package cuda

import (
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// compiled holds the kernels as `make cuda` built them: <family>.sm_80.cubin.gz and so on, <family>.ptx.gz for GPUs newer than any of
// those, and families of Hopper's own instructions as <family>.sm_90a.cubin.gz, which no other GPU runs. Where no compiler was found only the README is there.
//
//go:embed image
var compiled embed.FS

// architectures lists compute capabilities that cubins are built for, best first. Code for one runs on later
// minor versions of the same major one.
var architectures = []int{90, 80}

// hopper is the one compute capability that has products of warpgroups.
const hopper = 90

// images returns the kernels for a device. The software device brings its own, so any image will do; with SOFTCUDA_PTX=1 it
// gets the PTX that is made for GPUs, and interprets it.
func images(capability int, soft bool) ([]string, error) {
	if soft {
		if !interpreted() {
			return []string{"linked into the software device"}, nil
		}
		capability = 0 // no machine code
	}
	files, err := imageFiles(capability)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		image, err := unpack(f)
		if err != nil {
			return nil, fmt.Errorf("kernel image %s: %w", f, err)
		}
		out = append(out, image)
	}
	return out, nil
}

// interpreted is whether the software device is to interpret the PTX that ships.
func interpreted() bool { return os.Getenv("SOFTCUDA_PTX") == "1" }

// imageFiles names the images for a compute capability.
func imageFiles(capability int) (files []string, err error) {
	kinds := imageKinds(capability)
	entries, err := compiled.ReadDir("image")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if _, kind, _ := strings.Cut(e.Name(), "."); slices.Contains(kinds, kind) {
			files = append(files, "image/"+e.Name())
		}
	}
	if files == nil {
		return nil, fmt.Errorf("this binary has no kernels for compute capability %d.%d: build it with make cuda where a CUDA compiler is found", capability/10, capability%10)
	}
	return files, nil
}

// imageKinds are the endings of the images for a compute capability.
func imageKinds(capability int) []string {
	kinds := []string{"ptx.gz"}
	for _, a := range architectures {
		if a <= capability && a/10 == capability/10 {
			kinds[0] = fmt.Sprintf("sm_%d.cubin.gz", a)
			break
		}
	}
	if capability == hopper {
		kinds = append(kinds, "sm_90a.cubin.gz")
	}
	return kinds
}

func unpack(name string) (string, error) {
	f, err := compiled.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(z)
	return string(raw) + "\x00", err // PTX is read up to a NUL
}
