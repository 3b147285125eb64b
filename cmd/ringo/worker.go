package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"

	"ringo/collective/control"
	"ringo/collective/ring"
	"ringo/collective/secure"
	"ringo/kernels"
	"ringo/train"
	"ringo/train/config"
	"ringo/train/metrics"
)

// workerCmd is what ringo launch starts on every device; people never do.
type workerCmd struct {
	Config     string   `short:"c" required:""`
	Set        []string `sep:"none"`
	Out        string   `required:""`
	Resume     bool     ``
	Checkpoint string   ``
	Collective string   `default:"auto"`
	Core       []int    // to stay on; empty: any
	deviceFlags
}

func (c *workerCmd) Run(e *env) error {
	// A terminal's Ctrl-C reaches the whole group of processes; the launcher says what it means.
	signal.Ignore(os.Interrupt)
	client, err := control.Attach()
	if err != nil {
		return err
	}
	if client == nil {
		return usage{errors.New("worker: no launcher started this process; run ringo launch, or ringo train for one process")}
	}
	if len(c.Core) > 0 {
		if err := kernels.PinCores(c.Core); err != nil {
			return err
		}
	}
	cfg, err := config.Load(c.Config, e.environ, c.Set)
	if err != nil {
		return usage{err}
	}
	listen, err := c.listen(client.Job())
	if err != nil {
		return err
	}
	err = c.work(client, listen, cfg)
	return errors.Join(err, listen.Close(), client.Close())
}

// listen opens the data socket.
func (c *workerCmd) listen(job control.Job) (*ring.Listener, error) {
	key := secure.Key(job.Key)
	o := ring.ListenOptions{Secret: key.Secret(job.Name)}
	if job.TLS {
		var err error
		if o.TLS, err = secure.TLS(key, job.Name, secure.Files{Cert: job.CertFile, Key: job.KeyFile, CA: job.CAFile}); err != nil {
			return nil, err
		}
	}
	return ring.Listen(job.Listen, o)
}

// address is where other workers reach a listener.
func address(l *ring.Listener, advertise string) string {
	_, port, err := net.SplitHostPort(l.Addr())
	if err != nil || advertise == "" {
		return l.Addr()
	}
	return net.JoinHostPort(advertise, port)
}

func (c *workerCmd) work(client *control.Client, listen *ring.Listener, cfg *config.Config) (err error) {
	member, err := train.NewMember(client, listen, client.Job().Name, cfg.Train.Wire)
	if err != nil {
		return err
	}
	log := metrics.NewLog(toLauncher{client})
	t, err := train.New(cfg, train.Options{Out: c.Out, Device: c.Device, Threads: c.Threads, Log: log, Team: member, Collective: c.Collective})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if from := c.from(); from != "" {
		if _, err := t.Resume(from); err != nil && !(c.Checkpoint == "" && errors.Is(err, os.ErrNotExist)) {
			return err
		}
	}
	device := t.Device()
	if strings.HasPrefix(c.Device, device+":") {
		device = c.Device // with its number
	}
	if err := client.Ready(address(listen, client.Job().Advertise), device); err != nil {
		return err
	}
	r, err := t.Run(context.Background())
	if err != nil {
		return err
	}
	if r.Left {
		return client.Leave("was asked to leave after step " + fmt.Sprint(r.Step))
	}
	return c.done(client, t, cfg, log, r)
}

// from is the checkpoint to go on from, "" for none.
func (c *workerCmd) from() string {
	if c.Checkpoint == "" && c.Resume {
		return c.Out
	}
	return c.Checkpoint
}

// done tells the launcher how the run ended; the worker that saved the model also writes the sample.
func (c *workerCmd) done(client *control.Client, t *train.Trainer, cfg *config.Config, log *metrics.Log, r train.Result) error {
	if !r.Interrupted {
		if _, err := closing(t, cfg, log, r); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(r.Summary())
	if err != nil {
		return err
	}
	return client.Done(raw)
}

// toLauncher is the sink that hands events to the launcher.
type toLauncher struct{ client *control.Client }

func (s toLauncher) Event(_ metrics.Event, line []byte) error { return s.client.Event(line) }
func (toLauncher) Close() error                               { return nil }
