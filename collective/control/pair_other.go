//go:build !unix

package control

import (
	"errors"
	"net"
	"os"
)

func pair() (net.Conn, *os.File, error) {
	return nil, nil, errors.New("control: launching workers needs socket pairs, which this system lacks; use ringo train")
}
