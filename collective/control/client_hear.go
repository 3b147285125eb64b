package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"ringo/collective/view"
)

// run hears the launcher until the link ends.
func (c *Client) run() {
	r := reader{r: c.conn}
	for {
		k, b, err := r.next()
		if err == nil {
			err = c.handle(k, b)
		}
		if err == nil {
			continue
		}
		close(c.lost)
		c.conn.Close()
		if errors.Is(err, io.EOF) {
			err = ErrLost
		}
		if !c.leaving.Load() && c.orphan != nil {
			c.orphan(err)
		}
		return
	}
}

func (c *Client) handle(k kind, b []byte) error {
	switch k {
	case kindView:
		var v view.View
		if err := json.Unmarshal(b, &v); err != nil {
			return fmt.Errorf("control: a view that cannot be read: %w", err)
		}
		c.setView(v)
	case kindStop:
		s := new(Stop)
		if err := json.Unmarshal(b, s); err != nil {
			return fmt.Errorf("control: an order to stop that cannot be read: %w", err)
		}
		c.setStop(s)
	case kindPause:
		if len(b) != 1 {
			return fmt.Errorf("control: a pause of %d bytes, expected 1", len(b))
		}
		c.mu.Lock()
		c.paused.Store(b[0] != 0)
		c.announce()
		c.mu.Unlock()
	default:
		return fmt.Errorf("control: a launcher does not send %v frames", k)
	}
	return nil
}

func (c *Client) setView(v view.View) {
	c.mu.Lock()
	if v.Epoch <= c.newest.Load() {
		c.mu.Unlock()
		return
	}
	c.view = v
	c.newest.Store(v.Epoch)
	c.announce()
	tell := c.onView
	c.mu.Unlock()
	if tell != nil {
		tell(v.Epoch)
	}
}

// announce wakes those who wait for a change. mu is held.
func (c *Client) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Client) setStop(s *Stop) {
	if c.stop.CompareAndSwap(nil, s) {
		close(c.stopped)
	} else if s.All {
		c.stop.Store(s)
	}
}
