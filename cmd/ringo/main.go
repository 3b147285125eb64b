// Command ringo trains models, uses them, and says what a machine offers. This package holds flags and
// wiring only. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	_ "ringo/kernels"
	"ringo/runtime/backend"
	"ringo/train/config"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// cli is the command line as kong reads it.
type cli struct {
	Train    trainCmd    `cmd:"" help:"Train a model in this process."`
	Launch   launchCmd   `cmd:"" help:"Train with several workers, here and on other hosts."`
	Witness  witnessCmd  `cmd:"" help:"Only vote on who takes part in a job."`
	Eval     evalCmd     `cmd:"" help:"Score a trained model on its validation set."`
	Generate generateCmd `cmd:"" help:"Let a trained language model write text."`
	Export   exportCmd   `cmd:"" help:"Write a trained model for other software."`
	Bench    benchCmd    `cmd:"" help:"Time whole training steps, or kernels."`
	Data     dataCmd     `cmd:"" help:"Fetch and look at data sets."`
	Doctor   doctorCmd   `cmd:"" help:"Say what this machine offers."`
	Worker   workerCmd   `cmd:"" hidden:""`
}

// deviceFlags choose where a command computes.
type deviceFlags struct {
	Device  string `help:"Where to compute: auto, cpu, cuda, cuda:1, null." default:"auto" placeholder:"DEVICE"`
	Threads int    `help:"CPU threads; 0 is one per CPU, or what the configuration says." default:"0" placeholder:"N"`
}

// check answers a device that no build of ringo could mean, or an impossible number of threads.
func (d deviceFlags) check() error {
	name, _, _ := strings.Cut(d.Device, ":")
	if name != "auto" && !slices.Contains(backend.Names(), name) {
		return usage{fmt.Errorf("--device %s: not in this binary, expected auto or one of %s", d.Device, strings.Join(backend.Names(), ", "))}
	}
	if d.Threads < 0 {
		return usage{fmt.Errorf("--threads %d: expected 0 or more", d.Threads)}
	}
	return nil
}

// usage marks an error of the caller's: exit code 2.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// env is what commands see of the world.
type env struct {
	ctx      context.Context
	out, err io.Writer
	terminal bool // out is one
	environ  []string
	args     []string // for messages that repeat the command
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the next one ends the process as usual.
	context.AfterFunc(ctx, stop)
	code := run(env{ctx, os.Stdout, os.Stderr, term.IsTerminal(int(os.Stdout.Fd())), os.Environ(), os.Args[1:]})
	stop()
	os.Exit(code)
}

// newParser reads the command line into a cli. docs/commands.md prints what it knows.
func newParser(options ...kong.Option) *kong.Kong {
	options = append(options, kong.Name("ringo"), kong.Description("A training engine: graphs planned once, run on CPU or GPU."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.UsageOnError())
	parser, err := kong.New(new(cli), options...)
	if err != nil {
		panic(err) // the structs above are wrong
	}
	return parser
}

// run parses and executes a command line and returns the exit code.
func run(e env) int {
	exited := -1
	parser := newParser(kong.Writers(e.out, e.err), kong.Exit(func(code int) { exited = code }))
	if len(e.args) == 0 {
		e.args = []string{"--help"}
	}
	ctx, err := parser.Parse(e.args)
	if exited >= 0 {
		return exited // --help
	}
	if err != nil {
		fmt.Fprintf(e.err, "ringo: %v\nrun ringo --help, or ringo COMMAND --help\n", err)
		return exitUsage
	}
	return report(e.err, ctx.Run(&e))
}

// report prints an error and returns the exit code that fits it.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	var stopped interrupted
	if !errors.As(err, &stopped) {
		fmt.Fprintf(w, "ringo: %v\n", err)
	}
	var u usage
	var c *config.Error
	if errors.As(err, &u) || errors.As(err, &c) {
		return exitUsage
	}
	return exitFailed
}

// interrupted says that a command was stopped by a signal and has said all there is to say.
type interrupted struct{}

func (interrupted) Error() string { return "interrupted" }
