package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"ringo/data"
	"ringo/internal/cgroup"
	"ringo/kernels"
	"ringo/runtime/backend"
)

type doctorCmd struct {
	JSON   bool `name:"json" help:"Print a JSON object."`
	Health bool `help:"Only check that this folder can be written and the CPU computes; opens no GPU."`
}

// finding is one line of the report: what, what was found, and whether it is as good as it can be.
type finding struct {
	Name  string `json:"name"`
	Found string `json:"found"`
	OK    bool   `json:"ok"`
	Hint  string `json:"hint,omitempty"` // what to do where OK is false
}

func (c *doctorCmd) Run(e *env) error {
	if c.Health {
		return health(".")
	}
	list := findings()
	if c.JSON {
		return json.NewEncoder(e.out).Encode(map[string]any{"event": "doctor", "findings": list})
	}
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	for _, f := range list {
		mark := "ok"
		if !f.OK {
			mark = "--"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", mark, f.Name, f.Found)
		if f.Hint != "" {
			fmt.Fprintf(w, "\t\t%s\n", f.Hint)
		}
	}
	return w.Flush()
}

// health is a container's check of itself beside a run: of what may go wrong under it, and nothing that takes from it. Its errors are not
// the caller's, so that the exit status is 1: Docker keeps 2 for itself.
func health(folder string) error {
	if err := probe(folder); err != nil {
		return fmt.Errorf("folder %s: %w", folder, err)
	}
	b, err := backend.Open("cpu", backend.Options{Threads: 1})
	if err != nil {
		return err
	}
	return b.Close()
}

// reports is what files with build tags add; the devices that they cover are in reported.
var (
	reports  []func() []finding
	reported = map[string]bool{}
)

func findings() []finding {
	kernels.Init(0)
	list := []finding{
		{Name: "ringo", Found: version(), OK: true},
		{Name: "system", Found: fmt.Sprintf("%s/%s, %s, %d CPUs", runtime.GOOS, runtime.GOARCH, runtime.Version(), runtime.NumCPU()), OK: true},
		cpuKernels(),
	}
	for _, name := range backend.Names() {
		if reported[name] {
			continue
		}
		b, err := backend.Open(name, backend.Options{})
		f := finding{Name: "device " + name, OK: err == nil}
		if err != nil {
			f.Found = err.Error()
		} else {
			f.Found = b.Describe()
			if err := b.Close(); err != nil {
				f.OK, f.Found = false, err.Error()
			}
		}
		list = append(list, f)
	}
	for _, report := range reports {
		list = append(list, report()...)
	}
	return append(append(list, memory()), append(limits(), dataFolder())...)
}

// revision is the commit that a build without a repository at hand, such as an image's, was made of: -ldflags "-X main.revision=…".
var revision string

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "built without module information"
	}
	v := strings.TrimSpace(info.Main.Version + " " + revision)
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v
}

func cpuKernels() finding {
	f := finding{Name: "cpu kernels", Found: fmt.Sprintf("%s, %d threads", kernels.ISA(), kernels.Threads()), OK: kernels.ISA() != "generic"}
	if !f.OK {
		f.Hint = "portable kernels only: fast ones need Linux, x86-64 with AVX2, and a build with a C compiler (CGO_ENABLED=1)"
	}
	return f
}

// limits reports what a container or a service may use, nothing where there is no limit.
func limits() []finding {
	l := cgroup.Read()
	var parts []string
	if !math.IsInf(l.CPUs, 1) {
		parts = append(parts, fmt.Sprintf("time of %.3g CPUs", l.CPUs))
	}
	if !math.IsInf(l.Memory, 1) {
		parts = append(parts, fmt.Sprintf("%.1f GiB of memory", l.Memory/(1<<30)))
	}
	if parts == nil {
		return nil
	}
	return []finding{{Name: "limits", Found: "of the control group: " + strings.Join(parts, ", "), OK: true}}
}

// dataFolder lists where data sets are looked for.
func dataFolder() finding {
	f := finding{Name: "data", OK: true}
	cache, err := data.CacheDir()
	if err != nil {
		return finding{Name: "data", Found: err.Error()}
	}
	f.Found = "cache " + cache
	if dir := os.Getenv("RINGO_DATA"); dir != "" {
		f.Found = "RINGO_DATA " + dir + ", " + f.Found
		if _, err := os.Stat(dir); err != nil {
			f.OK, f.Hint = false, "RINGO_DATA names no folder: "+err.Error()
		}
	}
	return f
}
