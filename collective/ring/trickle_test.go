package ring

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A stranger that sends a byte now and then gets the time of one handshake, not one per byte.
func TestTricklingStrangerIsDropped(t *testing.T) {
	t.Parallel()
	l, err := Listen("127.0.0.1:0", ListenOptions{Handshake: 200 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	defer c.Close()
	frame := new(bytes.Buffer)
	require.NoError(t, writeFrame(frame, make([]byte, 1000)))
	start := time.Now()
	for _, b := range frame.Bytes() {
		if _, err = c.Write([]byte{b}); err != nil {
			break
		}
		c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err = c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	require.Error(t, err)
	require.False(t, errors.Is(err, os.ErrDeadlineExceeded), "after %v the stranger was still listened to", time.Since(start))
	require.Less(t, time.Since(start), 5*time.Second)
}
