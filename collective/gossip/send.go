package gossip

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
)

// maxDatagram is what fits one packet on any network, with the encryption around it.
const maxDatagram = 1200

// outboxSize is how many messages wait for one slow host; older ones are dropped first.
const outboxSize = 64

// outboxIdle is how long the goroutine that sends to a host outlives the last message.
const outboxIdle = 5 * time.Second

// kindBye is the kind of the message that says that its sender leaves; callers use others.
const kindBye = 0

type outbox struct {
	to    *memberlist.Node
	queue chan []byte
}

// Send sends a message to a host at an address, without waiting. Lossy messages go as datagrams where they fit. A
// host that takes no messages does not hold up those to others.
func (n *Node) Send(id, addr string, kind byte, data []byte, lossy bool) error {
	if kind == kindBye {
		return errors.New("gossip: messages of kind 0 are gossip's own")
	}
	if len(data) > MaxMessage {
		return fmt.Errorf("gossip: a message of %d bytes, at most %d are allowed", len(data), MaxMessage)
	}
	msg, err := encode(n.cfg.Self.ID, id, kind, data)
	if err != nil {
		return err
	}
	to, err := node(id, addr)
	if err != nil {
		return err
	}
	if lossy && len(msg) <= maxDatagram {
		return n.list.SendBestEffort(to, msg)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return n.ctx.Err()
	}
	o := n.out[id]
	if o == nil || o.to.Address() != to.Address() {
		o = &outbox{to, make(chan []byte, outboxSize)}
		n.out[id] = o
		n.wg.Go(func() { n.deliver(id, o) })
	}
	for {
		select {
		case o.queue <- msg:
			n.pending.Add(1)
			return nil
		default:
		}
		select {
		case <-o.queue: // the oldest gives way
			n.pending.Add(-1)
		default:
		}
	}
}

// deliver sends what waits for one host, in order.
func (n *Node) deliver(id string, o *outbox) {
	idle := time.NewTimer(outboxIdle)
	defer idle.Stop()
	for {
		select {
		case msg := <-o.queue:
			if err := n.list.SendReliable(o.to, msg); err != nil {
				n.cfg.Log.Debug("gossip: a message did not arrive", "to", id, "err", err)
			}
			n.pending.Add(-1)
			idle.Reset(outboxIdle)
		case <-idle.C:
			n.mu.Lock()
			if len(o.queue) == 0 {
				if n.out[id] == o {
					delete(n.out, id)
				}
				n.mu.Unlock()
				return
			}
			n.mu.Unlock()
			idle.Reset(outboxIdle)
		case <-n.ctx.Done():
			return
		}
	}
}

func node(id, addr string) (*memberlist.Node, error) {
	host, p, err := net.SplitHostPort(addr)
	port, perr := strconv.ParseUint(p, 10, 16)
	ip := net.ParseIP(host)
	if err != nil || perr != nil || ip == nil {
		return nil, fmt.Errorf("gossip: host %s has the address %q, expected ip:port", id, addr)
	}
	return &memberlist.Node{Name: id, Addr: ip, Port: uint16(port), PMax: memberlist.ProtocolVersionMax}, nil
}

// encode makes a message: kind, length of from, from, length of to, to, data.
func encode(from, to string, kind byte, data []byte) ([]byte, error) {
	if len(from) > maxName || len(to) > maxName || from == "" || to == "" {
		return nil, fmt.Errorf("gossip: a message from %.20q to %.20q: names have 1 to %d bytes", from, to, maxName)
	}
	b := make([]byte, 0, 3+len(from)+len(to)+len(data))
	b = append(append(b, kind, byte(len(from))), from...)
	b = append(append(b, byte(len(to))), to...)
	return append(b, data...), nil
}

func decode(b []byte) (from, to string, kind byte, data []byte, err error) {
	short := errors.New("it is cut short")
	name := func() (s string) {
		if err != nil || len(b) < 1 || len(b) < 1+int(b[0]) || b[0] == 0 || b[0] > maxName {
			err = short
			return ""
		}
		s, b = string(b[1:1+b[0]]), b[1+b[0]:]
		return s
	}
	if len(b) == 0 || len(b) > MaxMessage+3+2*maxName {
		return "", "", 0, nil, short
	}
	kind, b = b[0], b[1:]
	from, to = name(), name()
	return from, to, kind, b, err
}

// reconnect tries to reach lost hosts, and seeds where this host is alone: memberlist gives up on the dead, but
// partitions heal.
func (n *Node) reconnect() {
	tick := time.NewTicker(n.cfg.Reconnect)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		if addr := n.pick(); addr != "" {
			if _, err := n.list.Join([]string{addr}); err != nil {
				n.cfg.Log.Debug("gossip: a lost host does not answer", "addr", addr, "err", err)
			}
		}
	}
}

// pick returns the address of a host to try, "" where there is none.
func (n *Node) pick() string {
	n.mu.Lock()
	var all []string
	for _, h := range n.lost {
		all = append(all, h.Addr)
	}
	if len(n.live) == 0 {
		all = append(all, n.seeds...)
	}
	n.mu.Unlock()
	if len(all) == 0 {
		return ""
	}
	addrs, err := resolve(all[rand.IntN(len(all))])
	if err != nil {
		return ""
	}
	if a := addrs[rand.IntN(len(addrs))]; a != n.addr {
		return a
	}
	return ""
}
