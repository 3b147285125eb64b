package models

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"ringo/runtime/tensor"
)

// Checkpoints of llama2.c in its first layout ("v0", export.py's legacy_export): seven little-endian int32
//
//	dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size (negative: a classifier of its own), seq_len
//
// then float32 arrays, each for all layers before the next: token_embedding (V,C), rms_att (L,C), wq (L,C,C),
// wk and wv (L,K·D,C), wo (L,C,C), rms_ffn (L,C), w1 (L,F,C), w2 (L,C,F), w3 (L,F,C), rms_final (C), two tables of
// rotary angles (T,D/2) that are not needed, and where vocab_size is negative wcls (V,C).

const llama2cHeader = 7 // int32 fields

// ReadLlama2C reads a llama2.c v0 checkpoint of size bytes. It returns the llama model it describes and its
// parameters, f32, by ringo's names. A header that makes no sense or describes another size than the file's is an
// error, found before anything is allocated.
func ReadLlama2C(r io.Reader, size int64) (*Model, map[string]*tensor.Tensor, error) {
	var h [llama2cHeader]int32
	if err := binary.Read(r, binary.LittleEndian, &h); err != nil {
		return nil, nil, fmt.Errorf("llama2.c checkpoint: ends within its header of %d bytes: %w", 4*llama2cHeader, err)
	}
	for i, v := range h {
		if v == 0 || v == math.MinInt32 || (v < 0 && i != 5) {
			return nil, nil, fmt.Errorf("llama2.c checkpoint: header field %d is %d, expected a positive number; is it in the v0 layout?", i, v)
		}
	}
	c := Config{Name: "llama", Width: int(h[0]), Hidden: int(h[1]), Layers: int(h[2]), Heads: int(h[3]), KVHeads: int(h[4]),
		Vocab: int(max(h[5], -h[5])), Context: int(h[6]), Tied: h[5] > 0, NormEps: 1e-5, RopeBase: 10_000, RopeInterleaved: true}
	m, err := New(c)
	if err != nil {
		return nil, nil, fmt.Errorf("llama2.c checkpoint: %w", err)
	}
	if want := llama2cBytes(c); float64(size) != want {
		return nil, nil, fmt.Errorf("llama2.c checkpoint: %d bytes, but its header describes %.0f: is the file complete, and in the v0 layout?", size, want)
	}
	rd := &llama2cReader{r: r, weights: map[string]*tensor.Tensor{}}
	rd.all(c)
	return m, rd.weights, rd.err
}

// llama2cBytes returns the size of a file with c's header, as float64 because a bad header overflows integers.
func llama2cBytes(c Config) float64 {
	width, hidden, layers, dim := float64(c.Width), float64(c.Hidden), float64(c.Layers), float64(c.Width/c.Heads)
	embeddings := 1.0
	if !c.Tied {
		embeddings = 2
	}
	attention := 2*width*width + 2*float64(c.KVHeads)*dim*width
	floats := embeddings*float64(c.Vocab)*width + layers*(2*width+attention+3*hidden*width) + width + float64(c.Context)*dim
	return 4 * (llama2cHeader + floats)
}

type llama2cReader struct {
	r       io.Reader
	weights map[string]*tensor.Tensor
	err     error
}

// all reads every array into its place. Packed parameters take their parts' rows one below the other.
func (rd *llama2cReader) all(c Config) {
	dim := c.Width / c.Heads
	q, kv := c.Heads*dim, c.KVHeads*dim
	rd.rows("model.embed_tokens.weight", 0, c.Vocab, c.Vocab, c.Width)
	each := func(name string, from, to int, shape ...int) {
		for i := range c.Layers {
			rd.rows(fmt.Sprintf("model.layers.%d.%s.weight", i, name), from, to, shape...)
		}
	}
	each("input_layernorm", 0, c.Width, c.Width)
	each("self_attn.qkv_proj", 0, q, q+2*kv, c.Width)         // wq
	each("self_attn.qkv_proj", q, q+kv, q+2*kv, c.Width)      // wk
	each("self_attn.qkv_proj", q+kv, q+2*kv, q+2*kv, c.Width) // wv
	each("self_attn.o_proj", 0, c.Width, c.Width, c.Width)
	each("post_attention_layernorm", 0, c.Width, c.Width)
	each("mlp.gate_up_proj", 0, c.Hidden, 2*c.Hidden, c.Width) // w1, the gate
	each("mlp.down_proj", 0, c.Width, c.Width, c.Hidden)
	each("mlp.gate_up_proj", c.Hidden, 2*c.Hidden, 2*c.Hidden, c.Width) // w3, up
	rd.rows("model.norm.weight", 0, c.Width, c.Width)
	rd.skip("rotary tables", int64(c.Context)*int64(dim)) // cosines and sines, D/2 each
	if !c.Tied {
		rd.rows("lm_head.weight", 0, c.Vocab, c.Vocab, c.Width)
	}
}

// rows reads rows [from,to) of the parameter of the given shape.
func (rd *llama2cReader) rows(name string, from, to int, shape ...int) {
	if rd.err != nil {
		return
	}
	t := rd.weights[name]
	if t == nil {
		t = tensor.New(tensor.F32, shape...)
		rd.weights[name] = t
	}
	row := len(t.Bytes()) / shape[0]
	_, err := io.ReadFull(rd.r, t.Bytes()[from*row:to*row])
	rd.done(name, err)
}

func (rd *llama2cReader) skip(what string, floats int64) {
	if rd.err != nil {
		return
	}
	_, err := io.CopyN(io.Discard, rd.r, 4*floats)
	rd.done(what, err)
}

func (rd *llama2cReader) done(what string, err error) {
	if err != nil {
		rd.err = fmt.Errorf("llama2.c checkpoint: reading %s: %w", what, err)
	}
}
