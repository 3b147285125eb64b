package ring

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// version of everything that ranks say to each other. Another version is refused.
const version = 2

// magic opens every connection, so that garbage is known after four bytes.
const magic = "RNGO"

// Kinds of connection between a pair of members.
const (
	kindControl = iota + 1 // keepalives, aborts, goodbyes
	kindData               // vectors
)

// maxHello bounds the frames of a handshake.
const maxHello = 1024

// A handshake is four frames; D dials, A accepts:
//
//	D→A hello:  who I am, which view, a nonce, where my shared memory is
//	A→D reply:  accepted or why not, a nonce, HMAC(secret, "accept" ‖ hello ‖ reply), where my shared memory is
//	D→A proof:  HMAC(secret, "dial" ‖ hello ‖ reply)
//	A→D done:   one byte, 1 where shared memory of both sides is mapped
//
// A frame is magic (4), version (2), length (2), body. Numbers are big-endian.
type hello struct {
	kind, stream uint8
	epoch        uint64
	from, to     uint32
	digest       [16]byte
	nonce        [16]byte
	shm          shmOffer
	job, id      string
}

// shmOffer says where a process's shared memory can be opened: /proc/PID/fd/FD.
type shmOffer struct {
	pid, fd uint32
	addr    uint64   // where its owner has it mapped
	token   [16]byte // stands at the start of the memory
}

// reply answers a hello; text says why not.
type reply struct {
	status uint8
	nonce  [16]byte
	shm    shmOffer
	text   string
}

// The statuses of a reply.
const (
	statusOK = iota
	statusRefused
	statusNoShared
)

func (s shmOffer) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, s.pid)
	b = binary.BigEndian.AppendUint32(b, s.fd)
	b = binary.BigEndian.AppendUint64(b, s.addr)
	return append(b, s.token[:]...)
}

func (h *hello) encode() []byte {
	b := []byte{h.kind, h.stream}
	b = binary.BigEndian.AppendUint64(b, h.epoch)
	b = binary.BigEndian.AppendUint32(b, h.from)
	b = binary.BigEndian.AppendUint32(b, h.to)
	b = append(b, h.digest[:]...)
	b = append(b, h.nonce[:]...)
	b = h.shm.append(b)
	b = append(b, byte(len(h.job)))
	b = append(b, h.job...)
	b = append(b, byte(len(h.id)))
	return append(b, h.id...)
}

func (r *reply) encode() []byte {
	b := append([]byte{r.status}, r.nonce[:]...)
	b = r.shm.append(b)
	text := r.text[:min(len(r.text), maxHello/2)]
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}

// reader takes fields off a frame; after the first that is too short everything reads as zero and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.bad = true
		r.b = nil
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) offer() shmOffer {
	return shmOffer{r.u32(), r.u32(), r.u64(), [16]byte(r.take(16))}
}

func (r *reader) end(what string) error {
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%s of wrong length", what)
	}
	return nil
}

func decodeHello(b []byte) (*hello, error) {
	r := &reader{b: b}
	h := &hello{kind: r.u8(), stream: r.u8(), epoch: r.u64(), from: r.u32(), to: r.u32(),
		digest: [16]byte(r.take(16)), nonce: [16]byte(r.take(16)), shm: r.offer()}
	h.job = string(r.take(int(r.u8())))
	h.id = string(r.take(int(r.u8())))
	if err := r.end("hello"); err != nil {
		return nil, err
	}
	if h.kind != kindControl && h.kind != kindData || h.stream >= maxConns {
		return nil, fmt.Errorf("hello of unknown kind %d, stream %d", h.kind, h.stream)
	}
	return h, nil
}

func decodeReply(b []byte) (*reply, error) {
	r := &reader{b: b}
	p := &reply{status: r.u8(), nonce: [16]byte(r.take(16)), shm: r.offer()}
	p.text = string(r.take(int(r.u16())))
	return p, r.end("reply")
}

// writeFrame sends magic, version, length and body in one write.
func writeFrame(w io.Writer, body []byte) error {
	b := append(make([]byte, 0, 8+len(body)), magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	_, err := w.Write(append(b, body...))
	return err
}

// readFrame reads one frame of a handshake, at most maxHello bytes.
func readFrame(r io.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return nil, err
	}
	if string(head[:4]) != magic {
		return nil, errors.New("not a ringo connection: it does not begin as one")
	}
	if _, err := io.ReadFull(r, head[4:]); err != nil {
		return nil, err
	}
	if v := binary.BigEndian.Uint16(head[4:]); v != version {
		return nil, fmt.Errorf("protocol version %d, expected %d: run the same ringo everywhere", v, version)
	}
	n := int(binary.BigEndian.Uint16(head[6:]))
	if n > maxHello {
		return nil, fmt.Errorf("handshake frame of %d bytes, expected at most %d", n, maxHello)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}

// proof is HMAC-SHA256(secret, role ‖ hello ‖ reply): who knows no secret cannot make it, and fresh nonces in
// both frames make an old one worthless.
func proof(secret []byte, role string, hello, reply []byte) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(role))
	m.Write(hello)
	m.Write(reply)
	return m.Sum(nil)
}
