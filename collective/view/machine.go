package view

import "time"

// Machine is one host's part in the agreement. Make it with New; it is not safe for concurrent use.
type Machine struct {
	cfg  Config
	view View
}

// rules are the decisions on which safety rests.
type rules struct{}

// New returns a machine that waits for Start, or Validate's error.
func New(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Machine{cfg: cfg}, nil
}

// Step takes one input at a time that never goes back and returns what to do, Wake last.
func (m *Machine) Step(now time.Duration, in Input) []Output { return []Output{Wake{now + m.cfg.Heartbeat}} }

// View returns the newest view known, or the zero View. It shares memory with the machine: read only.
func (m *Machine) View() View { return m.view }
