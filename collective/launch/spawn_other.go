//go:build !linux

package launch

import "os/exec"

// endWithLauncher does nothing here: a worker ends when its control link does.
func endWithLauncher(*exec.Cmd) {}
