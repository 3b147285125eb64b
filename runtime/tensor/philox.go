package tensor

import "math"

// Philox is the counter-based generator Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011). Output is a pure function of key and counter, so any worker can draw any number
// of the sequence without drawing those before it. The zero value is ready: key 0, counter 0.
type Philox struct {
	Key     [2]uint32
	Counter [4]uint32
}

// NewPhilox keys a generator with a seed and a stream; equal pairs give equal numbers.
func NewPhilox(seed uint64, stream uint64) Philox {
	return Philox{
		Key:     [2]uint32{uint32(seed), uint32(seed >> 32)},
		Counter: [4]uint32{0, 0, uint32(stream), uint32(stream >> 32)},
	}
}

// Block returns the four 32-bit words at the counter, without moving it.
func (p Philox) Block() [4]uint32 {
	const (
		m0, m1 = 0xD2511F53, 0xCD9E8D57 // multipliers, table 2 of the paper
		w0, w1 = 0x9E3779B9, 0xBB67AE85 // Weyl increments: golden ratio, √3−1
	)
	c, k := p.Counter, p.Key
	for range 10 {
		h0, l0 := mulhilo(m0, c[0])
		h1, l1 := mulhilo(m1, c[2])
		c = [4]uint32{h1 ^ c[1] ^ k[0], l1, h0 ^ c[3] ^ k[1], l0}
		k[0] += w0
		k[1] += w1
	}
	return c
}

// At returns the block number i of the stream.
func (p Philox) At(i uint64) [4]uint32 {
	p.Counter[0], p.Counter[1] = uint32(i), uint32(i>>32)
	return p.Block()
}

// Next returns the block at the counter and moves on.
func (p *Philox) Next() [4]uint32 {
	b := p.Block()
	p.Counter[0]++
	if p.Counter[0] == 0 {
		p.Counter[1]++
	}
	return b
}

func mulhilo(a, b uint32) (hi, lo uint32) {
	v := uint64(a) * uint64(b)
	return uint32(v >> 32), uint32(v)
}

// Unit maps 32 random bits to [0,1) with 24 bits of resolution, exact in float32.
func Unit(u uint32) float32 { return float32(u>>8) / (1 << 24) }

// FillUniform writes numbers of [lo,hi).
func (p *Philox) FillUniform(dst []float32, lo, hi float32) {
	for i := 0; i < len(dst); i += 4 {
		b := p.Next()
		for j := 0; j < 4 && i+j < len(dst); j++ {
			dst[i+j] = lo + (hi-lo)*Unit(b[j])
		}
	}
}

// FillNormal writes normally distributed numbers by the Box–Muller transform:
// z₀ = √(−2 ln u₁) cos 2πu₂, z₁ = √(−2 ln u₁) sin 2πu₂.
func (p *Philox) FillNormal(dst []float32, mean, std float32) {
	for i := 0; i < len(dst); i += 4 {
		b := p.Next()
		for j := 0; j < 4 && i+j < len(dst); j += 2 {
			u1 := 1 - float64(Unit(b[j])) // (0,1]: the logarithm stays finite
			sin, cos := math.Sincos(2 * math.Pi * float64(Unit(b[j+1])))
			r := math.Sqrt(-2 * math.Log(u1))
			dst[i+j] = mean + std*float32(r*cos)
			if i+j+1 < len(dst) {
				dst[i+j+1] = mean + std*float32(r*sin)
			}
		}
	}
}

// Perm returns a permutation of 0…n−1, by Fisher and Yates.
func (p *Philox) Perm(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	for i := n - 1; i > 0; i-- {
		b := p.Next()
		r := (uint64(b[0])<<32 | uint64(b[1])) % uint64(i+1)
		out[i], out[r] = out[r], out[i]
	}
	return out
}
