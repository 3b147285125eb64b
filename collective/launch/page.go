package launch

import (
	"encoding/json"
	"fmt"
	"time"

	"ringo/collective/launch/status"
)

// page is what the launcher knows for its status page alone. Methods work on nil: no page is served.
type page struct {
	srv    *status.Server
	remote map[string][]status.Worker // by host
	step   int
	steps  int
	stepMS float64
}

// maxShare bounds what another host may say of its workers, in bytes.
const maxShare = 256 << 10

func (l *launcher) openPage() (*page, error) {
	if l.cfg.Status == "" {
		return nil, nil
	}
	srv, err := status.Serve(l.cfg.Status, func() (status.Snapshot, bool) {
		reply := make(chan status.Snapshot, 1)
		l.box.post(func() { reply <- l.snapshot() })
		select {
		case s := <-reply:
			return s, true
		case <-l.closed:
			return status.Snapshot{}, false
		}
	})
	if err != nil {
		return nil, fmt.Errorf("launch: the status page cannot be served: %w; choose another --status", err)
	}
	l.log.Info("status page at http://" + srv.Addr() + "/")
	return &page{srv: srv, remote: map[string][]status.Worker{}}, nil
}

func (p *page) addr() string {
	if p == nil {
		return ""
	}
	return p.srv.Addr()
}

func (p *page) close() error {
	if p == nil {
		return nil
	}
	return p.srv.Close()
}

// event hears of a metrics event that no worker reported before.
func (p *page) event(h header, line []byte) {
	if p == nil {
		return
	}
	var e struct {
		StepMS  float64  `json:"step_ms"`
		Loss    *float64 `json:"loss"`
		ValLoss *float64 `json:"val_loss"`
	}
	if json.Unmarshal(line, &e) != nil {
		return
	}
	switch {
	case h.Event == "start":
		p.steps = h.Steps
	case h.Event == "step" && e.Loss != nil:
		p.step, p.stepMS = h.Step, e.StepMS
		p.srv.Point(status.Point{Step: h.Step, Loss: e.Loss})
	case h.Event == "eval" && e.ValLoss != nil:
		p.srv.Point(status.Point{Step: h.Step, ValLoss: e.ValLoss})
	}
}

// heard takes what another host says of its workers.
func (p *page) heard(from string, data []byte) {
	var list []status.Worker
	if p == nil || len(data) > maxShare || json.Unmarshal(data, &list) != nil || len(list) > maxLocal || len(p.remote) > 1024 {
		return
	}
	p.remote[from] = list
}

func (p *page) forget(host string) {
	if p != nil {
		delete(p.remote, host)
	}
}

// share tells hosts that serve a page how the workers here fare.
func (l *launcher) share() {
	if len(l.workers) == 0 {
		return
	}
	var text []byte
	for _, h := range l.node.Hosts() {
		if !h.Status {
			continue
		}
		if text == nil {
			text, _ = json.Marshal(l.local()) // numbers and names always can
		}
		l.node.Send(h.ID, h.Addr, kindStatus, text, true) // the next one follows in a second
	}
}

func (l *launcher) local() []status.Worker {
	var list []status.Worker
	for _, w := range l.workers {
		if !w.listed() {
			continue
		}
		s := status.Worker{ID: w.id, Host: l.id, Device: w.ready.Device, Step: w.progress.Step, LaneLo: w.progress.LaneLo, LaneHi: w.progress.LaneHi,
			LanesPS: finite(w.progress.LanesPerSecond), BytesPS: finite(w.progress.BytesPerSecond), GPU: finite(w.gpu), Restarts: w.starts - 1}
		list = append(list, s)
	}
	return list
}

// finite makes a number one that JSON has.
func finite(x float64) float64 {
	if x-x != 0 { // NaN and infinities
		return 0
	}
	return x
}

// snapshot is what the page shows.
func (l *launcher) snapshot() status.Snapshot {
	s := status.Snapshot{Job: l.cfg.Job, Host: l.id, State: l.state.String(), Epoch: l.view.Epoch,
		Step: max(l.page.step, l.result.Step), Steps: l.page.steps, StepMS: l.page.stepMS}
	known := map[string]status.Worker{}
	for _, w := range l.local() {
		known[w.ID] = w
	}
	for _, list := range l.page.remote {
		for _, w := range list {
			known[w.ID] = w
		}
	}
	for _, w := range l.view.Workers {
		x, ok := known[w.ID]
		if !ok {
			x = status.Worker{GPU: -1}
		}
		x.ID, x.Host, x.Device = w.ID, w.Host, w.Device
		s.Workers = append(s.Workers, x)
	}
	rtt := map[string]time.Duration{}
	for _, h := range l.node.Hosts() {
		rtt[h.ID] = h.RTT
	}
	for _, h := range l.view.Hosts {
		s.Hosts = append(s.Hosts, status.Host{ID: h.ID, Addr: h.Addr, Witness: h.Witness, RTTMS: float64(rtt[h.ID].Microseconds()) / 1e3})
	}
	for _, c := range l.history[max(0, len(l.history)-status.MaxChanges):] {
		s.Changes = append(s.Changes, status.Change{Epoch: c.Epoch, Workers: len(c.Workers), Reason: c.Reason,
			Unix: c.at.Unix(), RecoveryMS: float64(c.recovery.Microseconds()) / 1e3})
	}
	return s
}
