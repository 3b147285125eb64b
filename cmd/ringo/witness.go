package main

import "errors"

// witnessCmd votes on who takes part in a job, on any small machine: of two hosts and a witness any two go on.
type witnessCmd struct{ hostFlags }

func (c *witnessCmd) Run(e *env) error {
	if c.Job == "" || len(c.Join) == 0 {
		return usage{errors.New("witness: --job and --join are needed: the job's name and the address of one of its hosts")}
	}
	l, err := c.host(e, c.Job)
	if err != nil {
		return err
	}
	l.Witness = true
	r, err := runHost(e, l)
	if err == nil && r.Interrupted {
		err = interrupted{}
	}
	return err
}
