package launch

import (
	"context"
	"fmt"
	"io"
	"os/exec"

	"ringo/collective/control"
)

// Example runs a job of two workers on this host to its end.
func Example() {
	cfg := DefaultConfig()
	cfg.Job, cfg.Key, cfg.Workers, cfg.Output = "toy", make([]byte, 32), 2, io.Discard
	cfg.Command = func(w control.Welcome) *exec.Cmd { return toyCommand(20, 0)(w) }
	result, err := Run(context.Background(), cfg)
	fmt.Println(result.Done, result.Step, string(result.Data) == fmt.Sprint(undisturbed(20)), err)
	// Output: true 20 true <nil>
}
