// Package status owns the live page of a job: what a launcher knows, pushed to browsers as server-sent events (WHATWG
// HTML, section 9.2), with everything the page needs embedded. It must not know where the numbers come from.
package status

// Snapshot is the state of a job as one launcher knows it.
type Snapshot struct {
	Job     string   `json:"job"`
	Host    string   `json:"host"` // ID of the launcher that serves the page
	State   string   `json:"state"`
	Epoch   uint64   `json:"epoch"`
	Step    int      `json:"step"`
	Steps   int      `json:"steps"` // of the whole run, 0 unknown
	StepMS  float64  `json:"step_ms"`
	Workers []Worker `json:"workers"` // in ring order
	Hosts   []Host   `json:"hosts"`
	Changes []Change `json:"changes"` // newest last, at most MaxChanges
}

// MaxChanges bounds the view changes that a page shows.
const MaxChanges = 20

// Worker is one place of the ring.
type Worker struct {
	ID       string  `json:"id"`
	Host     string  `json:"host"`
	Device   string  `json:"device"`
	Step     int     `json:"step"`
	LaneLo   int     `json:"lo"`
	LaneHi   int     `json:"hi"`
	LanesPS  float64 `json:"lanes_ps"`
	BytesPS  float64 `json:"bytes_ps"`
	GPU      float64 `json:"gpu"` // percent busy, -1 unknown
	Restarts int     `json:"restarts"`
}

// Host is a launcher or witness.
type Host struct {
	ID      string  `json:"id"`
	Addr    string  `json:"addr"`
	Witness bool    `json:"witness"`
	RTTMS   float64 `json:"rtt_ms"` // 0 unknown
}

// Change is a view that was decided.
type Change struct {
	Epoch      uint64  `json:"epoch"`
	Workers    int     `json:"workers"`
	Reason     string  `json:"reason"`
	Unix       int64   `json:"unix"`
	RecoveryMS float64 `json:"recovery_ms"` // 0 unknown
}
