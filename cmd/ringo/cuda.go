//go:build cuda

package main

import (
	"fmt"

	"ringo/cuda" // also registers the devices cuda and soft
)

func init() {
	reports = append(reports, func() (list []finding) {
		for _, f := range cuda.Report() {
			list = append(list, finding{Name: f.Name, Found: f.Found, OK: f.OK, Hint: f.Hint})
		}
		return list
	})
	canNCCL = func(device string) error {
		if err := cuda.CanSum(device); err != nil {
			return fmt.Errorf("--collective nccl: %w", err)
		}
		return nil
	}
	gpus = cuda.Devices
	reported["cuda"], reported["soft"] = true, true
}
