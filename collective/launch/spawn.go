package launch

import (
	"os/exec"
	"runtime"
)

// spawner starts processes from one thread that lives as long as the spawner: the kernel's signal to orphans
// (prctl(2), PR_SET_PDEATHSIG) is sent when the starting thread ends, not the process.
type spawner struct{ work chan func() }

func newSpawner() *spawner {
	s := &spawner{make(chan func())}
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with this goroutine
		for f := range s.work {
			f()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	endWithLauncher(cmd)
	done := make(chan error)
	s.work <- func() { done <- cmd.Start() }
	return <-done
}

// close ends the thread, and with it every process that still runs.
func (s *spawner) close() { close(s.work) }
