package launch

import (
	"os/exec"
	"syscall"
)

// endWithLauncher makes the kernel kill the worker when the thread that started it ends, and gives it a process group
// of its own: a Ctrl-C at the terminal reaches the launcher only, which then stops the workers in order.
func endWithLauncher(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
