package ring

import (
	"errors"
	"fmt"
)

// ErrClosed is what calls on a closed Ring or Listener return.
var ErrClosed = errors.New("ring: closed")

// ErrAborted is wrapped by the error that a call returns on other ranks after one rank called Abort: no peer
// is to blame, a new view is on its way.
var ErrAborted = errors.New("ring: aborted")

// PeerError says that a call failed because of one member.
type PeerError struct {
	Peer string // the member's ID
	Rank int    // its rank, −1 where unknown
	Via  string // the member that reported it, empty where this rank saw it itself
	Err  error  // what happened
}

func (e *PeerError) Error() string {
	if e.Via != "" {
		return fmt.Sprintf("ring: peer %q (rank %d), reported by %q: %v", e.Peer, e.Rank, e.Via, e.Err)
	}
	return fmt.Sprintf("ring: peer %q (rank %d): %v", e.Peer, e.Rank, e.Err)
}

func (e *PeerError) Unwrap() error { return e.Err }

// errLost is what a closed connection means.
var errLost = errors.New("connection lost, the process is gone or left")
