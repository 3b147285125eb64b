package onnx

import (
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"ringo/export/onnxpb"
)

// A model is one protobuf message, and protobuf libraries want it whole in memory. Here the weights, which are
// nearly all of it, are streamed: everything else is marshalled as usual, and the initializers follow as further
// fields of the graph, framed by hand (protobuf encoding: fields of a message may come in any order).

// Field numbers of onnx.proto.
const (
	modelGraph       = 7 // ModelProto.graph
	graphInitializer = 5 // GraphProto.initializer
	tensorRawData    = 9 // TensorProto.raw_data
)

// maxMessage is what protobuf allows a message to have: files with more keep their weights in a file beside them.
const maxMessage = 1<<31 - 1

// dataAlign is where tensors start in a data file: on a page, so that runtimes can map it.
const dataAlign = 4096

// layout is a file's fixed parts in order.
type layout struct {
	head  []byte   // the model up to and with the length of its graph, and the graph's own fields
	frame [][]byte // before each initializer's raw data: field headers
	inner bool     // the weights lie inside
}

// header returns x's TensorProto without its contents. In a file of external data they lie at offset.
func (x *initializer) header(external string, offset int64) *onnxpb.TensorProto {
	p := &onnxpb.TensorProto{Name: proto.String(x.name), DataType: proto.Int32(int32(x.dtype))}
	for _, d := range x.shape {
		p.Dims = append(p.Dims, int64(d))
	}
	if external != "" {
		p.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
		for _, kv := range [][2]string{{"location", external}, {"offset", fmt.Sprint(offset)}, {"length", fmt.Sprint(x.bytes())}} {
			p.ExternalData = append(p.ExternalData, &onnxpb.StringStringEntryProto{Key: proto.String(kv[0]), Value: proto.String(kv[1])})
		}
	}
	return p
}

// external reports whether an initializer goes to the data file: weights do, small constants, which runtimes read
// while they infer shapes, do not.
func (x *initializer) external() bool { return x.data == nil }

// plan works out all lengths. external names the data file, "" where everything lies inside.
func (f *File) plan(external string) (*layout, int64, error) {
	l := &layout{inner: external == ""}
	graph, err := proto.Marshal(f.model.Graph)
	if err != nil {
		return nil, 0, err
	}
	size := int64(len(graph))
	offset := int64(0)
	for _, x := range f.inits {
		name := ""
		if external != "" && x.external() {
			offset = (offset + dataAlign - 1) / dataAlign * dataAlign
			name = external
		}
		p, err := proto.Marshal(x.header(name, offset))
		if err != nil {
			return nil, 0, err
		}
		inside := int64(0)
		body := int64(len(p))
		if name == "" {
			inside = x.bytes()
			body += int64(protowire.SizeTag(tensorRawData) + protowire.SizeBytes(int(inside)))
		} else {
			offset += x.bytes()
		}
		frame := protowire.AppendTag(nil, graphInitializer, protowire.BytesType)
		frame = append(protowire.AppendVarint(frame, uint64(body)), p...)
		if name == "" {
			frame = protowire.AppendVarint(protowire.AppendTag(frame, tensorRawData, protowire.BytesType), uint64(inside))
		}
		l.frame = append(l.frame, frame)
		size += int64(len(frame)) + inside
	}
	shell := proto.Clone(&onnxpb.ModelProto{IrVersion: f.model.IrVersion, OpsetImport: f.model.OpsetImport, ProducerName: f.model.ProducerName, MetadataProps: f.model.MetadataProps})
	if l.head, err = proto.Marshal(shell); err != nil {
		return nil, 0, err
	}
	l.head = protowire.AppendTag(l.head, modelGraph, protowire.BytesType)
	l.head = protowire.AppendVarint(l.head, uint64(size))
	l.head = append(l.head, graph...)
	return l, int64(len(l.head)) - int64(len(graph)) + size, nil
}

// write streams the model; weights that lie in a data file are left out.
func (f *File) write(w io.Writer, l *layout) error {
	if _, err := w.Write(l.head); err != nil {
		return err
	}
	var buf buffer
	for i, x := range f.inits {
		if _, err := w.Write(l.frame[i]); err != nil {
			return err
		}
		if !l.inner && x.external() {
			continue
		}
		raw, err := f.contents(x, &buf)
		if err != nil {
			return err
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

// writeData streams the data file.
func (f *File) writeData(w io.Writer) error {
	var buf buffer
	var at int64
	for _, x := range f.inits {
		if !x.external() {
			continue
		}
		gap := (dataAlign - at%dataAlign) % dataAlign
		if _, err := w.Write(make([]byte, gap)); err != nil {
			return err
		}
		raw, err := f.contents(x, &buf)
		if err != nil {
			return err
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
		at += gap + int64(len(raw))
	}
	return nil
}

// buffer is the memory that weights pass through, one after the other.
type buffer struct{ raw, flip []byte }

// contents returns the bytes of an initializer as the file has them; they are valid until the next call.
func (f *File) contents(x *initializer, b *buffer) ([]byte, error) {
	if x.data != nil {
		return x.data, nil
	}
	n := int(x.bytes())
	b.raw = grow(b.raw, n)
	if err := f.weights.Read(x.param, b.raw); err != nil {
		return nil, err
	}
	if !x.flip {
		return b.raw, nil
	}
	b.flip = transpose(b.flip, b.raw, x.shape[1], x.shape[0], x.size)
	return b.flip, nil
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		b = make([]byte, n)
	}
	return b[:n]
}

// transpose writes the transpose of src (rows, cols), elements of size bytes, into dst, which grows as needed. It
// goes by square tiles, so that both sides stay in the cache.
func transpose(dst, src []byte, rows, cols, size int) []byte {
	const tile = 32
	dst = grow(dst, len(src))
	for i0 := 0; i0 < rows; i0 += tile {
		for j0 := 0; j0 < cols; j0 += tile {
			for i := i0; i < min(i0+tile, rows); i++ {
				for j := j0; j < min(j0+tile, cols); j++ {
					copy(dst[(j*rows+i)*size:][:size], src[(i*cols+j)*size:])
				}
			}
		}
	}
	return dst
}
