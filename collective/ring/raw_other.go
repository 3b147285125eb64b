//go:build !linux

package ring

import (
	"net"
	"time"
)

// rawLink needs Linux here; elsewhere goroutines serve every connection.
func rawLink(net.Conn) link { return nil }

type pollSet struct{}

func (pollSet) reset()                          {}
func (pollSet) add(int, bool)                   {}
func (pollSet) wait(d, spin time.Duration) bool { return false }
