package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ringo/runtime/backend"
	"ringo/runtime/plan"
)

// devices sums gradients where they lie, by the workers' devices themselves. The group stays for everything else, and
// says when a worker is gone: devices may not notice.
type devices struct {
	backend.DeviceGroup
	group Group
	grad  backend.DeviceGradient
}

// Ways of summing gradients, Options.Collective.
const (
	collectiveAuto = "auto"
	collectiveRing = "ring"
	collectiveNCCL = "nccl"
)

// meetWithin is how long devices may take to find each other.
const meetWithin = time.Minute

// offer is what a worker says when a view begins.
type offer struct {
	Want string // Options.Collective
	ID   []byte // rank 0's, where its device can sum
	Why  string // where it cannot
}

// joinDevices makes the devices' group of a view, where the run may use one and all workers have what it needs.
func (t *Trainer) joinDevices(ctx context.Context) error {
	c := t.crew
	want := t.o.Collective
	if want == "" {
		want = collectiveAuto
	}
	if err := CheckCollective(want, t.cfg.Train.Reduce); err != nil {
		return err
	}
	if t.cfg.Train.Reduce == reproducible {
		return nil // on all workers: they compared configurations
	}
	offers, err := t.offers(want)
	if err != nil {
		return err
	}
	for r, o := range offers {
		if o.Want != want {
			return fmt.Errorf("%s sums with --collective %s, this worker with %s: start every worker of a job with the same", describe(c.view, r), o.Want, want)
		}
	}
	for r, o := range offers {
		switch {
		case o.Why != "" && want == collectiveNCCL:
			return fmt.Errorf("--collective nccl: %s cannot: %s", describe(c.view, r), o.Why)
		case o.Why != "":
			return nil
		}
	}
	return t.meetDevices(ctx, want, offers[0].ID)
}

// CheckCollective refuses a way of summing that does not go with train.reduce: NCCL adds in an order of its own.
func CheckCollective(want, reduce string) error {
	if want == collectiveNCCL && reduce == reproducible {
		return errors.New("--collective nccl cannot give train.reduce: reproducible, since NCCL adds in an order of its own: use ring or auto, or train.reduce: ring")
	}
	return nil
}

// offers tells all workers what this one can, and returns what all said.
func (t *Trainer) offers(want string) ([]offer, error) {
	raw, err := json.Marshal(t.offer(want))
	if err != nil {
		return nil, err
	}
	all, err := t.crew.Gather(raw)
	if err != nil {
		return nil, lost{err}
	}
	out := make([]offer, len(all))
	for r, raw := range all {
		if err := json.Unmarshal(raw, &out[r]); err != nil {
			return nil, lost{fmt.Errorf("%s says nothing sensible of its device: %w", describe(t.crew.view, r), err)}
		}
	}
	return out, nil
}

func (t *Trainer) offer(want string) offer {
	no := func(why string) offer { return offer{Want: want, Why: why} }
	grouper, ok := t.device.(backend.DeviceGrouper)
	_, gradient := t.exec.Gradient().(backend.DeviceGradient)
	switch {
	case want == collectiveRing:
		return no("it was told not to")
	case !ok || !gradient:
		return no("device " + t.device.Name() + " has no collective of its own")
	case want == collectiveAuto && t.device.Name() == "soft":
		return no("device soft is a simulation")
	}
	err := grouper.CanGroup()
	var id []byte
	if err == nil && t.crew.Rank() == 0 {
		id, err = grouper.GroupID()
	}
	if err != nil {
		return no(err.Error())
	}
	return offer{Want: want, ID: id}
}

// meetDevices makes the group and lets all workers know whether that went well everywhere.
func (t *Trainer) meetDevices(ctx context.Context, want string, id []byte) error {
	c := t.crew
	ctx, cancel := context.WithTimeoutCause(ctx, meetWithin, fmt.Errorf("not all devices came within %v", meetWithin))
	defer cancel()
	go func(over <-chan struct{}) {
		select {
		case <-over:
			cancel()
		case <-ctx.Done():
		}
	}(c.Over())
	g, err := t.device.(backend.DeviceGrouper).JoinGroup(ctx, id, c.Rank(), c.Size())
	said := ""
	if err != nil {
		said = err.Error()
	} else {
		c.devices = &devices{g, c.Group, t.exec.Gradient().(backend.DeviceGradient)}
		go func(over <-chan struct{}) { <-over; g.Abort() }(c.Over())
	}
	all, err := c.Gather([]byte(said))
	if err != nil {
		return lost{err}
	}
	for r, said := range all {
		if len(said) == 0 {
			continue
		}
		c.leaveDevices()
		if want == collectiveNCCL {
			return fmt.Errorf("--collective nccl: %s: %s", describe(c.view, r), said)
		}
		break
	}
	return nil
}

// leaveDevices ends the devices' group, if there is one.
func (c *crew) leaveDevices() {
	if c.devices != nil {
		_ = c.devices.Close() // a view that ends in disorder has said why
		c.devices = nil
	}
}

// giveDevices lets the devices add up a finished bucket while the backward pass goes on.
func (t *Trainer) giveDevices(b plan.Bucket) error {
	c := t.crew
	d := c.devices
	from, to := int(b.Offset/4), int((b.Offset+b.Bytes)/4)
	if f := t.prog.Flag; f >= from && f < to {
		if err := d.grad.Fill(f, f+1, c.raised()); err != nil {
			return err
		}
	}
	if err := d.Sum(d.grad, from, to); err != nil {
		return d.because(err)
	}
	return nil
}

// wait returns when all that was given is summed.
func (d *devices) wait() error {
	if err := d.Wait(); err != nil {
		return d.because(err)
	}
	return nil
}

// hearsay is how long a failure of the devices waits for the group to say whose fault it is.
const hearsay = 200 * time.Millisecond

// because is the group's reason for a failure, where it has one in time: it knows who is gone.
func (d *devices) because(err error) error {
	select {
	case <-d.group.Over():
		return lost{d.group.Err()}
	case <-time.After(hearsay):
		return lost{err}
	}
}

// raised is what this worker puts into the flag.
func (c *crew) raised() float32 {
	if c.asked > 0 {
		return flagStop
	}
	return 0
}
