package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var gigabit = Link{50 * time.Microsecond, 125e6}

// The formulas by hand, at 4 nodes, 100 MB in f32, 1 Gbit/s.
func TestStepTimeByHand(t *testing.T) {
	t.Parallel()
	c := Cluster{Nodes: 4, WorkersPerNode: 1, Network: gigabit}
	s := Step{Parameters: 25e6, Compute: time.Second}
	ms := func(want float64, got time.Duration) {
		t.Helper()
		require.InDelta(t, want, float64(got)/float64(time.Millisecond), 1e-3)
	}
	e, err := StepTime(c, s)
	require.NoError(t, err)
	ms(6*(0.05+200), e.Reduce) // 2(n−1) (α + M/nβ)
	ms(2200.3, e.Step)
	require.Equal(t, 150e6, e.NetworkBytes) // 2(n−1)/n M
	s.Wire = BF16
	e, _ = StepTime(c, s)
	ms(6*(0.05+100), e.Reduce)
	s.Wire, s.Method, s.Lanes = F32, Reproducible, 8 // aligned blocks: a ring's bytes
	e, _ = StepTime(c, s)
	ms(6*(0.05+200), e.Reduce)
	require.Equal(t, 150e6, e.NetworkBytes)
	s.Method, s.Overlap, s.Buckets = Ring, true, 10 // 9 of 10 buckets start before compute ends at most
	e, _ = StepTime(c, s)
	ms(1000-667+66.667+10*(6*(0.05+20))+0.333, e.Step) // network-bound from the first bucket on
}

// Hierarchical sends 1/g as many messages over the network and no more bytes; both tend to 2M/β.
func TestStepTimeShapes(t *testing.T) {
	t.Parallel()
	c := Cluster{Nodes: 8, WorkersPerNode: 8, Network: gigabit, Local: Link{2 * time.Microsecond, 10e9}}
	s := Step{Parameters: 1e3, Compute: time.Millisecond}
	flat, err := StepTime(c, s)
	require.NoError(t, err)
	s.Method = Hierarchical
	two, err := StepTime(c, s)
	require.NoError(t, err)
	require.Less(t, two.Reduce, flat.Reduce/4, "few bytes: latency counts")
	require.Less(t, two.NetworkBytes, flat.NetworkBytes)
	s.Parameters = 1e9
	two, _ = StepTime(c, s)
	require.InEpsilon(t, 2*4e9/125e6*7/8, two.Reduce.Seconds(), 0.03)
	s.Method = Ring
	one, err := StepTime(Cluster{Nodes: 1, WorkersPerNode: 1}, s)
	require.NoError(t, err)
	require.Zero(t, one.Exposed)
	require.Equal(t, 1.0, one.Efficiency)
	_, err = StepTime(Cluster{Nodes: 2, WorkersPerNode: 1}, s)
	require.ErrorContains(t, err, "network of 0 bytes/s")
}

func TestSubtrees(t *testing.T) {
	t.Parallel()
	require.Equal(t, 1, subtrees(8, 16))
	require.Equal(t, 3, subtrees(1, 6)) // 1, 2-3, 4-5
	require.Equal(t, 0, subtrees(3, 3))
	require.Equal(t, 6, subtrees(1, 15)) // 1, 2-3, 4-7, 8-11, 12-13, 14
}
