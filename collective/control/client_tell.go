package control

import (
	"encoding/json"
	"fmt"
)

// Ready says that this worker listens at addr for other workers, and asks for a place in the next view.
func (c *Client) Ready(addr, device string) error {
	return c.sendJSON(kindReady, &Ready{addr, device})
}

// Broken says that the ring of a view failed. peer is the worker that could not be reached, "" where that is
// not known.
func (c *Client) Broken(epoch uint64, peer string, err error) error {
	b := &Broken{Epoch: epoch, Peer: peer}
	if err != nil {
		b.Err = shorten(err.Error())
	}
	return c.sendJSON(kindBroken, b)
}

// Progress reports how far this worker is. It does not allocate.
func (c *Client) Progress(p Progress) error {
	var b [progressSize]byte
	return c.send(kindProgress, p.append(b[:0]))
}

// Event hands a metrics event, one JSON object, to the launcher's sinks.
func (c *Client) Event(line []byte) error { return c.send(kindEvent, line) }

// Leave says that this worker has left the ring for good.
func (c *Client) Leave(reason string) error {
	c.leaving.Store(true)
	return c.sendJSON(kindLeave, &Leave{shorten(reason)})
}

// Done says that the run is finished. result is for the launcher's caller.
func (c *Client) Done(result []byte) error {
	c.leaving.Store(true)
	return c.send(kindDone, result)
}

// Close ends the link without a word, as death would.
func (c *Client) Close() error {
	c.leaving.Store(true)
	return c.conn.Close()
}

func (c *Client) sendJSON(k kind, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.send(k, b)
}

func (c *Client) send(k kind, payload []byte) error {
	c.out.Lock()
	defer c.out.Unlock()
	var err error
	if c.out.buf, err = appendFrame(c.out.buf[:0], k, payload); err != nil {
		return err
	}
	if _, err = c.conn.Write(c.out.buf); err != nil {
		return fmt.Errorf("%w: %v", ErrLost, err)
	}
	return nil
}

// maxReason bounds the texts that workers give as reasons, in bytes.
const maxReason = 1 << 10

func shorten(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason]
	}
	return s
}
