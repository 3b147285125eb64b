package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"ringo/collective/control"
	"ringo/collective/launch"
	"ringo/collective/secure"
	"ringo/internal/cgroup"
	"ringo/kernels"
	"ringo/train"
	"ringo/train/config"
)

type launchCmd struct {
	N          int      `short:"n" name:"workers" placeholder:"N" help:"Workers on this host; by default one per GPU, without GPUs one that uses all CPUs."`
	Config     string   `short:"c" required:"" placeholder:"FILE" help:"The run's configuration."`
	Set        []string `sep:"none" placeholder:"a.b=v" help:"Override a key of the configuration; may be repeated."`
	Out        string   `placeholder:"DIR" help:"The run's folder; by default runs/NAME, after the configuration's file."`
	Resume     bool     `help:"Go on from the newest checkpoint of the run's folder."`
	Checkpoint string   `placeholder:"DIR" help:"Go on from this checkpoint."`
	Restarts   int      `default:"10" placeholder:"N" help:"How many dead workers are replaced."`
	MinWorkers int      `placeholder:"N" help:"Wait while the job has fewer workers."`
	MaxWorkers int      `placeholder:"N" help:"Further workers wait as spares."`
	Collective string   `default:"auto" enum:"auto,ring,nccl" help:"How gradients are summed: over connections between workers (ring), by the GPUs themselves (nccl), or by the GPUs where all can (auto)."`
	TLS        string   `name:"tls" default:"auto" enum:"auto,on,off" help:"Encrypt data between hosts: auto (off on loopback), on, off."`
	TLSCert    string   `name:"tls-cert" placeholder:"FILE" help:"This host's certificate, instead of one made from the job's key."`
	TLSKey     string   `name:"tls-key" placeholder:"FILE" help:"Its private key."`
	TLSCA      string   `name:"tls-ca" placeholder:"FILE" help:"The authority that signed all hosts' certificates."`
	Pin        string   `default:"auto" enum:"auto,off" help:"Keep every worker on processors of its own where there are enough for all and not for a second job (auto), or leave that to the system (off)."`
	JSON       bool     `name:"json" help:"Print one JSON object per event."`
	hostFlags
	deviceFlags

	gpus      int     // that workers take in turn, 0 where each opens what --device says
	unmatched string  // warning where workers and GPUs are not one to one
	cores     [][]int // of each worker; nil where the system chooses
}

func (c *launchCmd) Run(e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	cfg, err := config.Load(c.Config, e.environ, c.Set)
	if err != nil {
		return usage{err}
	}
	if err := c.fill(cfg); err != nil {
		return err
	}
	if err := writable(c.Out); err != nil {
		return err
	}
	if len(c.Join) == 0 && !c.Resume && c.Checkpoint == "" {
		if err := moveAside(e, c.Out); err != nil {
			return err
		}
	}
	l, err := c.host(e, c.Job)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if c.unmatched != "" {
		l.Log.Warn(c.unmatched)
	}
	sinks := newJobSinks(e, c.Out, c.JSON)
	l.Workers, l.Restarts, l.MinWorkers, l.MaxWorkers = c.N, c.Restarts, c.MinWorkers, c.MaxWorkers
	l.TLS = c.TLS == "on" || c.TLS == "auto" && !loopback(l.Bind)
	l.CertFile, l.KeyFile, l.CAFile = c.TLSCert, c.TLSKey, c.TLSCA
	journal := &journalFile{dir: c.Out}
	l.Output, l.Event, l.Journal = e.err, sinks.event, journal
	l.Command = func(w control.Welcome) *exec.Cmd {
		cmd := exec.Command(self, c.workerArgs(w)...)
		cmd.Env = withoutKey(e.environ)
		return cmd
	}
	r, err := runHost(e, l)
	return c.report(e, sinks, r, errors.Join(err, sinks.close(), journal.Close()))
}

// fill sets what was left open and answers what cannot be.
func (c *launchCmd) fill(cfg *config.Config) error {
	if err := c.place(gpus, cfg.Train.Lanes); err != nil {
		return usage{err}
	}
	if c.N < 0 || c.N > cfg.Train.Lanes {
		return usage{fmt.Errorf("-n %d: expected 1 to %d, the configuration's train.lanes: a worker has at least one lane", c.N, cfg.Train.Lanes)}
	}
	if c.Threads == 0 {
		c.Threads = max(1, cgroup.Processors()/c.N)
	}
	if c.Pin == "auto" && !strings.HasPrefix(c.Device, "cuda") {
		c.cores = kernels.ShareCores(kernels.Cores(), c.N, c.Threads)
	}
	if c.Out == "" {
		c.Out = defaultOut(c.Config)
	}
	if c.Job == "" {
		c.Job = filepath.Base(defaultOut(c.Config))
	}
	if c.Collective == "nccl" {
		err := canNCCL(c.Device)
		if err == nil && c.gpus > 0 && c.N > c.gpus {
			err = fmt.Errorf("--collective nccl: %d workers would share %d GPUs here, and NCCL wants one for each: use -n %d, or auto or ring", c.N, c.gpus, c.gpus)
		}
		if err == nil {
			err = train.CheckCollective(c.Collective, cfg.Train.Reduce)
		}
		if err != nil {
			return usage{err}
		}
	}
	return nil
}

// gpus is the number of GPUs of this machine that a worker could have, or why there is none; a build with CUDA replaces it.
var gpus = func() (int, error) { return 0, errors.New("this binary has no CUDA; build it with make cuda") }

// place gives each worker a GPU of its own where there are enough, else the GPUs in turn, and says how many workers there are
// where nobody did: one per GPU, at most one per lane. What was asked for and is not there is refused here, since a worker that
// dies for the want of it would be started again and again.
func (c *launchCmd) place(gpus func() (int, error), lanes int) error {
	kind, number, chosen := strings.Cut(c.Device, ":")
	n := 0
	if kind == "auto" || kind == "cuda" {
		var err error
		if n, err = gpus(); n == 0 && kind == "cuda" {
			return fmt.Errorf("--device %s: %w", c.Device, err)
		}
	}
	if i, err := strconv.Atoi(number); chosen && kind == "cuda" && (err != nil || i < 0 || i >= n) {
		return fmt.Errorf("--device %s: no such GPU; those of this machine that can be used are numbered from 0 to %d", c.Device, n-1)
	}
	if chosen {
		n = 0
	}
	if c.N == 0 {
		c.N = min(max(1, n), max(1, lanes))
		if c.N < n {
			c.unmatched = fmt.Sprintf("%d of %d GPUs are used, since train.lanes is %d and a worker has at least one lane: raise train.lanes to use all", c.N, n, lanes)
		}
	}
	if n > 0 && c.N > n {
		c.unmatched = fmt.Sprintf("%d workers take turns at %d GPUs: one worker per GPU, -n %d, is faster", c.N, n, n)
	}
	if n > 0 {
		c.Device, c.gpus = "cuda", n
	}
	return nil
}

// canNCCL says why devices of a kind cannot sum gradients by NCCL; a build with CUDA replaces it.
var canNCCL = func(string) error {
	return errors.New("--collective nccl: this binary has no NCCL; build it with CUDA (make cuda), or use auto or ring")
}

// workerArgs is a worker's command line. A worker that replaces another one begins with the newest checkpoint, should no
// other worker be left to hand over its state.
func (c *launchCmd) workerArgs(w control.Welcome) []string {
	device := c.Device
	if c.gpus > 0 {
		device += ":" + strconv.Itoa(w.Local%c.gpus)
	}
	args := []string{"worker", "-c", c.Config, "--out", c.Out, "--device", device, "--threads", strconv.Itoa(c.Threads), "--collective", c.Collective}
	if w.Local < len(c.cores) {
		for _, core := range c.cores[w.Local] {
			args = append(args, "--core", strconv.Itoa(core))
		}
	}
	for _, s := range c.Set {
		args = append(args, "--set", s)
	}
	if c.Checkpoint != "" && w.Restart == 0 {
		args = append(args, "--checkpoint", c.Checkpoint)
	} else if c.Resume || w.Restart > 0 {
		args = append(args, "--resume")
	}
	return args
}

// withoutKey leaves the job's key out of the environment of workers; they get it through their link.
func withoutKey(environ []string) []string {
	var kept []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, secure.EnvKey+"=") {
			kept = append(kept, kv)
		}
	}
	return kept
}

// report says how the job ended here.
func (c *launchCmd) report(e *env, s *jobSinks, r launch.Result, err error) error {
	if errors.Is(err, launch.ErrSettings) {
		return usage{err}
	}
	if err != nil {
		return err
	}
	sum, err := newest(r.All)
	if err != nil {
		return err
	}
	if sum.Interrupted || r.Interrupted && sum.Reason == "" {
		return errors.Join(c.say(e, s, max(sum.Step, r.Step), sum.Checkpoint), interrupted{})
	}
	if c.JSON {
		return nil
	}
	if s.done == nil {
		fmt.Fprintf(e.out, "the run is finished; its results are on the host of the first worker\n")
		return nil
	}
	shown := train.Result{Step: s.done.Step, Reason: s.done.Reason, Checkpoint: s.saved, BestStep: s.done.BestStep, BestLoss: s.done.BestLoss}
	shown.Score.Loss, shown.Score.Accuracy = s.done.ValLoss, s.done.Accuracy
	return summary(e, c.Out, shown, s.done.WallS, s.done.PeakRSSBytes, s.sample)
}

// newest returns the result of the worker that came furthest, and of equals of the one that saved a checkpoint.
func newest(all [][]byte) (best train.Summary, err error) {
	for _, raw := range all {
		var s train.Summary
		if err := json.Unmarshal(raw, &s); err != nil {
			return best, fmt.Errorf("a worker's result cannot be read: %w", err)
		}
		if s.Step > best.Step || s.Step == best.Step && s.Checkpoint != "" {
			best = s
		}
	}
	return best, nil
}

// say tells how to go on.
func (c *launchCmd) say(e *env, s *jobSinks, step int, checkpoint string) error {
	how := e.resumed()
	if c.JSON {
		return json.NewEncoder(e.out).Encode(map[string]any{"event": "interrupted", "step": step, "checkpoint": checkpoint, "resume": how})
	}
	_, err := fmt.Fprintf(e.out, "interrupted after step %d of %d; go on with\n  %s\n", step, s.steps, how)
	return err
}
