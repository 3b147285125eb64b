package control

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"ringo/collective/view"
)

// ErrStopping reports that no view comes any more because this worker was asked to stop.
var ErrStopping = errors.New("control: asked to stop")

// stopPatience is how long a worker that holds state waits for a view once it was asked to stop: longer than it takes to
// notice that a host is lost (view.Config.LostAfter) and to agree on a view without it.
const stopPatience = 4 * time.Second

// Client is the worker's end of the link. Its methods may be called from any goroutine.
type Client struct {
	conn    net.Conn
	welcome Welcome
	newest  atomic.Uint64
	leaving atomic.Bool // Leave or Done was sent: the link's end is no surprise
	stop    atomic.Pointer[Stop]
	paused  atomic.Bool
	stopped chan struct{} // closed when stop is set
	lost    chan struct{} // closed when the link is gone
	orphan  func(error)   // called when the launcher is gone; nil: nobody cares

	mu      sync.Mutex
	view    view.View
	changed chan struct{} // closed and replaced when view or paused change
	onView  func(epoch uint64)

	out struct {
		sync.Mutex
		buf []byte
	}
}

// start begins to listen to the launcher. orphan is called when it dies.
func (c *Client) start(orphan func(error)) {
	c.orphan = orphan
	go c.run()
}

// ID is the worker's ID in views.
func (c *Client) ID() string { return c.welcome.ID }

// Welcome is what the launcher said first.
func (c *Client) Welcome() Welcome { return c.welcome }

// Job is what the worker needs to know of its job.
func (c *Client) Job() Job { return c.welcome.Job }

// Newest is the epoch of the newest view that arrived, with or without this worker; 0 before the first.
func (c *Client) Newest() uint64 { return c.newest.Load() }

// OnView sets the function that is called when a newer view arrives, to end the ring of an older one. It is
// called on the link's own goroutine and must not wait for anything.
func (c *Client) OnView(fn func(epoch uint64)) {
	c.mu.Lock()
	c.onView = fn
	c.mu.Unlock()
}

// View waits for a view with an epoch above after that has this worker in it, and returns the newest. It
// fails with ErrLost when the launcher is gone. Once the worker was asked to stop it fails with ErrStopping:
// at once where after is 0 (the worker was in no view yet, nothing is lost), else when no view came for 4 s.
func (c *Client) View(ctx context.Context, after uint64) (view.View, error) {
	stopped := c.stopped
	var late <-chan time.Time
	for {
		c.mu.Lock()
		v, changed := c.view, c.changed
		c.mu.Unlock()
		if v.Epoch > after && v.Rank(c.welcome.ID) >= 0 {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return view.View{}, ctx.Err()
		case <-c.lost:
			return view.View{}, ErrLost
		case <-late:
			return view.View{}, ErrStopping
		case <-stopped:
			if after == 0 {
				return view.View{}, ErrStopping
			}
			stopped, late = nil, time.After(stopPatience)
		}
	}
}

// Gate holds the worker while its host is cut off from most others: call it before every step. Then nobody else may
// count this worker out while it still steps. It costs one atomic read while nothing is wrong. It lets go when a view
// newer than epoch has arrived, and fails with ErrStopping when the worker is asked to stop meanwhile.
func (c *Client) Gate(ctx context.Context, epoch uint64) error {
	for c.paused.Load() && c.Newest() <= epoch {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if !c.paused.Load() || c.Newest() > epoch {
			continue
		}
		select {
		case <-changed:
		case <-c.stopped:
			return ErrStopping
		case <-ctx.Done():
			return ctx.Err()
		case <-c.lost:
			return ErrLost
		}
	}
	return nil
}

// Stopping reports whether the worker was asked to finish its step and leave: by its launcher, or by a
// SIGTERM of its own.
func (c *Client) Stopping() bool { return c.stop.Load() != nil }

// StoppingAll reports whether all workers of this host were asked to.
func (c *Client) StoppingAll() bool { s := c.stop.Load(); return s != nil && s.All }

// StopBy is until when a worker that was asked to stop may wait for somebody to hand its state to; zero: it need not.
func (c *Client) StopBy() time.Time {
	if s := c.stop.Load(); s != nil {
		return s.By
	}
	return time.Time{}
}

// StopReason says why the worker was asked to stop; "" where it was not.
func (c *Client) StopReason() string {
	if s := c.stop.Load(); s != nil {
		return s.Reason
	}
	return ""
}

// Lost is closed when the link is gone.
func (c *Client) Lost() <-chan struct{} { return c.lost }
