package ring

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"ringo/collective/secure"
)

// dialAll opens the control connection to a lower rank, then the data connections, if they do not share memory.
func (r *Ring) dialAll(ctx context.Context, secret []byte, rank int) error {
	conn, remote, err := r.dial(ctx, secret, rank, kindControl, 0)
	if err != nil {
		return err
	}
	if err := r.arrive(rank, kindControl, 0, conn, remote); err != nil {
		conn.Close()
		remote.close()
		return err
	}
	for stream := 0; remote == nil && stream < r.opt.conns(r.self, rank); stream++ {
		conn, _, err := r.dial(ctx, secret, rank, kindData, stream)
		if err != nil {
			return err
		}
		if err := r.arrive(rank, kindData, stream, conn, nil); err != nil {
			conn.Close()
			return err
		}
	}
	return nil
}

// dial does the dialing side of a handshake (see frame.go).
func (r *Ring) dial(ctx context.Context, secret []byte, rank int, kind uint8, stream int) (net.Conn, *segment, error) {
	raw, err := r.reach(ctx, r.opt.Members[rank].Addr)
	if err != nil {
		return nil, nil, err
	}
	release := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	defer release()
	conn := raw
	if r.opt.TLS != nil && !r.opt.sameHost(r.self, rank) {
		t := tls.Client(raw, r.opt.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, nil, fmt.Errorf("TLS: %w", secure.Explain(err))
		}
		conn = t
	}
	remote, err := r.introduce(conn, secret, rank, kind, stream)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	if !release() { // cut off by ctx
		conn.Close()
		remote.close()
		return nil, nil, context.Cause(ctx)
	}
	return conn, remote, nil
}

// reach connects, with a little patience for an address that refuses.
func (r *Ring) reach(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	end := time.Now().Add(refusedFor)
	for {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(end) {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *Ring) introduce(conn net.Conn, secret []byte, rank int, kind uint8, stream int) (*segment, error) {
	h := &hello{kind: kind, stream: uint8(stream), epoch: r.opt.Epoch, from: uint32(r.self), to: uint32(rank),
		digest: r.opt.digest(), job: r.opt.Job, id: r.opt.Members[r.self].ID}
	rand.Read(h.nonce[:])
	share := kind == kindControl && r.shm != nil && r.opt.sameHost(r.self, rank)
	if share {
		h.shm = r.shm.offer()
	}
	body := h.encode()
	if err := writeFrame(conn, body); err != nil {
		return nil, err
	}
	answer, err := readFrame(conn)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", secure.Explain(lost(err)))
	}
	if len(answer) < 32 {
		return nil, errors.New("handshake: reply of wrong length")
	}
	answer, theirs := answer[:len(answer)-32], answer[len(answer)-32:]
	if !hmac.Equal(theirs, proof(secret, "accept", body, answer)) {
		return nil, errors.New("handshake: it does not have this job's key; give all processes the same key")
	}
	ans, err := decodeReply(answer)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if ans.status != statusOK {
		return nil, fmt.Errorf("refused: %s", ans.text)
	}
	var remote *segment
	if share {
		remote, _ = r.shm.attach(ans.shm) // without it TCP serves
	}
	mine := append(proof(secret, "dial", body, answer), 0)
	if remote != nil {
		mine[32] = 1
	}
	if err := writeFrame(conn, mine); err != nil {
		remote.close()
		return nil, err
	}
	done, err := readFrame(conn)
	if err != nil || len(done) != 1 {
		remote.close()
		return nil, fmt.Errorf("handshake: refused after the proof: %w", lost(err))
	}
	if done[0] != 1 {
		remote.close()
		remote = nil
	}
	return remote, nil
}
