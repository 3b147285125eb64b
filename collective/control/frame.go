package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the version of the control link. Both ends must speak the same: a launcher starts workers from
// its own binary.
const Version = 1

// MaxFrame bounds the payload of a frame, in bytes: the view of 10,000 workers fits several times.
const MaxFrame = 4 << 20

// magic opens the first frame of each direction.
const magic = "ringo control"

// kind says what a frame carries.
type kind byte

const (
	kindHello    kind = iota + 1 // both ways, first: magic and version
	kindWelcome                  // to the worker: Welcome as JSON
	kindView                     // to the worker: view.View as JSON
	kindStop                     // to the worker: Stop as JSON
	kindPause                    // to the worker: 1 pause, 0 go on
	kindReady                    // from the worker: Ready as JSON
	kindBroken                   // from the worker: Broken as JSON
	kindProgress                 // from the worker: Progress, fixed size
	kindEvent                    // from the worker: one metrics event, JSON
	kindLeave                    // from the worker: Leave as JSON
	kindDone                     // from the worker: the result
	kindLast
)

var kindNames = [kindLast]string{"", "hello", "welcome", "view", "stop", "pause", "ready", "broken", "progress", "event", "leave", "done"}

func (k kind) String() string {
	if k > 0 && k < kindLast {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// headerSize: the payload's length, 4 bytes little-endian, then the kind.
const headerSize = 5

// appendFrame appends a frame to dst.
func appendFrame(dst []byte, k kind, payload []byte) ([]byte, error) {
	if len(payload) > MaxFrame {
		return dst, fmt.Errorf("control: a %v frame of %d bytes, at most %d fit", k, len(payload), MaxFrame)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, byte(k))
	return append(dst, payload...), nil
}

// reader reads frames. The payload it returns is valid until the next call.
type reader struct {
	r    io.Reader
	head [headerSize]byte
	buf  []byte
}

// next reads one frame. io.EOF between frames means that the other end closed or died.
func (r *reader) next() (kind, []byte, error) {
	if _, err := io.ReadFull(r.r, r.head[:]); err != nil {
		return 0, nil, err
	}
	n, k := binary.LittleEndian.Uint32(r.head[:]), kind(r.head[4])
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("control: a frame claims %d bytes, at most %d are allowed", n, MaxFrame)
	}
	if k == 0 || k >= kindLast {
		return 0, nil, fmt.Errorf("control: unknown frame %v; start launcher and workers from one binary", k)
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return k, r.buf, nil
}

// hello is the first frame's payload.
func hello() []byte { return append([]byte(magic), Version) }

// checkHello answers a first frame that this version does not understand.
func checkHello(k kind, payload []byte) error {
	if k != kindHello || len(payload) != len(magic)+1 || string(payload[:len(magic)]) != magic {
		return fmt.Errorf("control: the link opens with a %v frame of %d bytes, expected a hello; is RINGO_CONTROL a control link?", k, len(payload))
	}
	if v := payload[len(magic)]; v != Version {
		return fmt.Errorf("control: the other end speaks version %d of the control link, this one %d; start launcher and workers from one binary", v, Version)
	}
	return nil
}
