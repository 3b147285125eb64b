package gossip

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// refusedPrefix begins every refusal of a delegate; explain finds it in memberlist's error.
const refusedPrefix = "refused: "

// meta is what a member says of itself, at most memberlist.MetaMaxSize bytes of JSON.
type meta struct {
	Version int    `json:"v"`
	Job     string `json:"job"`
	Host
}

// delegate is what memberlist calls.
type delegate struct{ n *Node }

var (
	_ memberlist.Delegate      = (*delegate)(nil)
	_ memberlist.EventDelegate = (*delegate)(nil)
	_ memberlist.AliveDelegate = (*delegate)(nil)
	_ memberlist.MergeDelegate = (*delegate)(nil)
	_ memberlist.PingDelegate  = (*delegate)(nil)
)

// NodeMeta describes this host.
func (d *delegate) NodeMeta(limit int) []byte {
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	b, err := json.Marshal(meta{Version, d.n.cfg.Job, d.n.self})
	if err != nil || len(b) > limit {
		panic(fmt.Sprintf("gossip: metadata of %d bytes: %v", len(b), err)) // names are bounded by Validate
	}
	return b
}

// check returns what a member says of itself, or why it is refused.
func (d *delegate) check(m *memberlist.Node) (Host, error) {
	var x meta
	switch err := json.Unmarshal(m.Meta, &x); {
	case err != nil:
		return Host{}, fmt.Errorf(refusedPrefix+"%s says nothing about itself that this version understands", m.Address())
	case x.Version != Version:
		return Host{}, fmt.Errorf(refusedPrefix+"%s speaks version %d of ringo's protocol, this host %d; run one version of ringo on all hosts", m.Address(), x.Version, Version)
	case x.Job != d.n.cfg.Job:
		return Host{}, fmt.Errorf(refusedPrefix+"%s belongs to job %.64q, this host to %q; join a host of the same job, or give both the same --job", m.Address(), x.Job, d.n.cfg.Job)
	case x.ID != m.Name || x.Workers < 0:
		return Host{}, fmt.Errorf(refusedPrefix+"%s calls itself %.64q and %.64q", m.Address(), m.Name, x.ID)
	}
	x.Addr = m.Address()
	return x.Host, nil
}

// NotifyAlive keeps strangers out, however they were heard of.
func (d *delegate) NotifyAlive(m *memberlist.Node) error {
	_, err := d.check(m)
	if err != nil {
		d.n.notes.refused(m.Address(), err)
	}
	return err
}

// NotifyMerge refuses to join, or to be joined by, hosts of another job. Dead ones among them do not count.
func (d *delegate) NotifyMerge(peers []*memberlist.Node) error {
	for _, p := range peers {
		if p.State != memberlist.StateAlive {
			continue
		}
		if _, err := d.check(p); err != nil {
			d.n.notes.refused(p.Address(), err)
			return err
		}
	}
	return nil
}

// NotifyJoin hears of a host that came or came back.
func (d *delegate) NotifyJoin(m *memberlist.Node) { d.NotifyUpdate(m) }

// NotifyUpdate hears of a host whose description changed.
func (d *delegate) NotifyUpdate(m *memberlist.Node) {
	h, err := d.check(m)
	if err != nil || h.ID == d.n.cfg.Self.ID {
		return
	}
	d.n.mu.Lock()
	if d.n.gone[h.ID] {
		d.n.mu.Unlock()
		return // old news
	}
	d.n.live[h.ID] = h
	for id, old := range d.n.lost {
		if id == h.ID || old.Addr == h.Addr { // a launcher that was started again has another ID
			delete(d.n.lost, id)
		}
	}
	d.n.mu.Unlock()
	if f := d.n.cfg.Handler.Seen; f != nil {
		f(h)
	}
}

// maxLost bounds how many lost hosts are remembered.
const maxLost = 1024

// NotifyLeave hears that a host died, or left and its farewell did not arrive: memberlist does not say which.
func (d *delegate) NotifyLeave(m *memberlist.Node) { d.forget(m.Name, false) }

func (d *delegate) forget(id string, left bool) {
	d.n.mu.Lock()
	h, known := d.n.live[id]
	delete(d.n.live, id)
	if left {
		delete(d.n.lost, id)
		if len(d.n.gone) < maxLost {
			d.n.gone[id] = true
		}
	} else if known && len(d.n.lost) < maxLost {
		d.n.lost[id] = h
	}
	d.n.mu.Unlock()
	if f := d.n.cfg.Handler.Lost; f != nil && known {
		f(id, left)
	}
}

// NotifyMsg hears a message of another host.
func (d *delegate) NotifyMsg(b []byte) {
	from, to, kind, data, err := decode(b)
	if err == nil && to != d.n.cfg.Self.ID {
		err = errors.New("it is for a host that was here before")
	}
	if err != nil {
		d.n.cfg.Log.Debug("gossip: a message was dropped", "err", err)
		return
	}
	if kind == kindBye {
		d.forget(from, true)
	} else if f := d.n.cfg.Handler.Message; f != nil {
		f(from, kind, append([]byte(nil), data...))
	}
}

// AckPayload adds nothing to acknowledgements.
func (d *delegate) AckPayload() []byte { return nil }

// NotifyPingComplete keeps the round-trip time for the status page.
func (d *delegate) NotifyPingComplete(m *memberlist.Node, rtt time.Duration, _ []byte) {
	d.n.mu.Lock()
	defer d.n.mu.Unlock()
	if h, ok := d.n.live[m.Name]; ok {
		h.RTT = rtt
		d.n.live[m.Name] = h
	}
}

// GetBroadcasts has nothing to say: messages go from host to host.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState adds nothing to memberlist's own.
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState expects nothing.
func (d *delegate) MergeRemoteState([]byte, bool) {}
