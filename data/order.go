package data

import (
	"fmt"
	"math/bits"

	"ringo/runtime/tensor"
)

// How a loader picks samples.
const (
	SampleRandom     = "random"     // with replacement; text: windows at random offsets, as nanoGPT does
	SampleEpoch      = "epoch"      // every sample exactly once per epoch, in an order that changes by epoch
	SampleSequential = "sequential" // every sample exactly once per epoch, in the order of the source
)

// Domains keep the random streams of one seed apart: each is mixed into the Philox key.
const (
	domainOrder   = 0x6f72_6472 // "ordr"
	domainOffset  = 0x6f66_6673 // "offs"
	domainAugment = 0x6175_676d // "augm"
	domainContent = 0x636f_6e74 // "cont"
)

func philox(seed uint64, domain uint32, c0, c1, c2, c3 uint32) tensor.Philox {
	return tensor.Philox{
		Key:     [2]uint32{uint32(seed) ^ domain, uint32(seed >> 32)},
		Counter: [4]uint32{c0, c1, c2, c3},
	}
}

// augmentRNG keys the augmentation of one sample in one epoch.
func augmentRNG(seed uint64, epoch int64, sample int) tensor.Philox {
	return philox(seed, domainAugment, 0, uint32(sample>>32), uint32(sample), uint32(epoch))
}

// uniform maps 64 random bits to 0…n−1 as ⌊u·n/2⁶⁴⌋; the bias is below n/2⁶⁴ (Lemire, ACM TOMACS 2019).
func uniform(b [4]uint32, n int) int {
	hi, _ := bits.Mul64(uint64(b[0])<<32|uint64(b[1]), uint64(n))
	return int(hi)
}

// Order says which sample stands where. It is a pure function of its fields, takes no memory, and can be
// asked for any step: resuming is asking for the next one.
//
// Samples form one endless stream, epoch after epoch; step s takes positions s·Batch … (s+1)·Batch−1, and
// lane l the l-th of Lanes equal parts of them. So every sample is used exactly once per epoch whatever
// Batch and Lanes are, and a batch may hold the end of one epoch and the start of the next.
type Order struct {
	Seed     uint64
	Len      int // number of samples, or of offsets when Sampling is SampleRandom
	Batch    int // samples per step over all lanes
	Lanes    int // divides Batch
	Sampling string
}

// Validate returns one sentence about the first field that cannot be.
func (o Order) Validate() error {
	switch {
	case o.Len < 1:
		return fmt.Errorf("data order: %d samples, expected at least 1", o.Len)
	case o.Batch < 1 || o.Lanes < 1 || o.Batch%o.Lanes != 0:
		return fmt.Errorf("data order: batch %d does not divide into %d equal lanes", o.Batch, o.Lanes)
	case o.Sampling != SampleRandom && o.Sampling != SampleEpoch && o.Sampling != SampleSequential:
		return fmt.Errorf("data order: sampling %q: unknown, expected random, epoch or sequential", o.Sampling)
	}
	return nil
}

// At returns the sample in a row of a lane of a step, and the epoch it belongs to. With SampleRandom the
// sample is an offset drawn with replacement and the epoch is the step.
func (o Order) At(step int64, lane, row int) (epoch int64, sample int) {
	global := lane*(o.Batch/o.Lanes) + row
	if o.Sampling == SampleRandom {
		p := philox(o.Seed, domainOffset, uint32(global), 0, uint32(step), uint32(step>>32))
		return step, uniform(p.Block(), o.Len)
	}
	position := step*int64(o.Batch) + int64(global)
	epoch, at := position/int64(o.Len), int(position%int64(o.Len))
	if o.Sampling == SampleEpoch {
		at = permute(o.Seed, epoch, o.Len, at)
	}
	return epoch, at
}

// Rounds of the permutation: Luby and Rackoff need 4 for a strong pseudo-random permutation; twice that
// leaves a margin for the short halves of small sets.
const feistelRounds = 8

// permute maps 0…n−1 one to one onto itself, differently for each seed and epoch. It is a Feistel network
// whose round function is Philox, on the least power of two that holds n; results outside 0…n−1 are mapped
// again until they fall inside (cycle walking; Black and Rogaway, CT-RSA 2002), less than twice on average.
func permute(seed uint64, epoch int64, n, i int) int {
	// At least 6 bits: a network on fewer can reach only few of the n! orders.
	width := max(bits.Len64(uint64(n-1)), 6)
	lowBits := width / 2
	lowMask, highMask := uint64(1)<<lowBits-1, uint64(1)<<(width-lowBits)-1
	x := uint64(i)
	for {
		low, high := x&lowMask, x>>lowBits
		for r := uint32(0); r < feistelRounds; r += 2 {
			low ^= feistel(seed, epoch, r, high) & lowMask
			high ^= feistel(seed, epoch, r+1, low) & highMask
		}
		x = high<<lowBits | low
		if x < uint64(n) {
			return int(x)
		}
	}
}

func feistel(seed uint64, epoch int64, round uint32, half uint64) uint64 {
	p := philox(seed, domainOrder+round, uint32(half), uint32(half>>32), uint32(epoch), uint32(epoch>>32))
	b := p.Block()
	return uint64(b[0])<<32 | uint64(b[1])
}
