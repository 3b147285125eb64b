package metrics

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// TensorBoard is the sink that writes an event file for TensorBoard: TFRecord frames (tensorflow
// core/lib/io/record_writer.h) around tensorflow.Event messages (core/util/event.proto).
type TensorBoard struct {
	f   *os.File
	now func() time.Time
	// Reused from event to event.
	msg, summary, value, frame []byte
}

// Field numbers of tensorflow.Event, Summary, Summary.Value and SessionLog.
const (
	eventWallTime    = 1 // double
	eventStep        = 2 // int64
	eventFileVersion = 3 // string
	eventSummary     = 5 // Summary
	eventSessionLog  = 7 // SessionLog
	summaryValue     = 1 // repeated Value
	valueTag         = 1 // string
	valueSimple      = 2 // float
	sessionStatus    = 1 // enum; 1 is START
)

// OpenTensorBoard starts an event file in dir. For a run that goes on after step (0: a new one) it tells
// TensorBoard to forget what earlier files say of later steps. now is the clock.
func OpenTensorBoard(dir string, step int, now func() time.Time) (*TensorBoard, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost" // only part of a file name
	}
	name := fmt.Sprintf("events.out.tfevents.%d.%s.%d", now().Unix(), host, os.Getpid())
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	s := &TensorBoard{f: f, now: now}
	s.begin(0)
	s.msg = protowire.AppendTag(s.msg, eventFileVersion, protowire.BytesType)
	s.msg = protowire.AppendString(s.msg, "brain.Event:2")
	err = s.write()
	if err == nil && step > 0 {
		s.begin(step + 1)
		s.msg = protowire.AppendTag(s.msg, eventSessionLog, protowire.BytesType)
		s.msg = protowire.AppendBytes(s.msg, protowire.AppendVarint(protowire.AppendTag(nil, sessionStatus, protowire.VarintType), 1))
		err = s.write()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func (s *TensorBoard) begin(step int) {
	t := float64(s.now().UnixNano()) / 1e9
	s.msg = protowire.AppendTag(s.msg[:0], eventWallTime, protowire.Fixed64Type)
	s.msg = protowire.AppendFixed64(s.msg, math.Float64bits(t))
	s.msg = protowire.AppendTag(s.msg, eventStep, protowire.VarintType)
	s.msg = protowire.AppendVarint(s.msg, uint64(step))
	s.summary = s.summary[:0]
}

func (s *TensorBoard) scalar(tag string, v float64) {
	if math.IsNaN(v) {
		return
	}
	s.value = protowire.AppendTag(s.value[:0], valueTag, protowire.BytesType)
	s.value = protowire.AppendString(s.value, tag)
	s.value = protowire.AppendTag(s.value, valueSimple, protowire.Fixed32Type)
	s.value = protowire.AppendFixed32(s.value, math.Float32bits(float32(v)))
	s.summary = protowire.AppendTag(s.summary, summaryValue, protowire.BytesType)
	s.summary = protowire.AppendBytes(s.summary, s.value)
}

// Event writes the numbers of step and eval events.
func (s *TensorBoard) Event(e Event, _ []byte) error {
	switch e := e.(type) {
	case *Step:
		s.begin(e.Step)
		s.scalar("loss/train", e.Loss)
		s.scalar("optim/lr", e.LR)
		s.scalar("optim/grad_norm", e.GradNorm)
		s.scalar("speed/step_ms", e.StepMS)
	case *Eval:
		s.begin(e.Step)
		s.scalar("loss/validation", e.ValLoss)
		s.scalar("validation/accuracy", e.Accuracy)
		s.scalar("validation/perplexity", e.Perplexity)
	default:
		return nil
	}
	s.msg = protowire.AppendTag(s.msg, eventSummary, protowire.BytesType)
	s.msg = protowire.AppendBytes(s.msg, s.summary)
	return s.write()
}

// write frames s.msg: length, its checksum, the message, its checksum, all little-endian.
func (s *TensorBoard) write() error {
	b := binary.LittleEndian.AppendUint64(s.frame[:0], uint64(len(s.msg)))
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(b))
	b = append(b, s.msg...)
	s.frame = binary.LittleEndian.AppendUint32(b, maskedCRC(s.msg))
	if _, err := s.f.Write(s.frame); err != nil {
		return fmt.Errorf("tensorboard: %w", err)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is the checksum of core/lib/hash/crc32c.h: rotated right by 15 bits, plus a constant, so that a
// checksum of data which holds checksums stays sound.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// Close closes the file.
func (s *TensorBoard) Close() error { return s.f.Close() }
