package train

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// cutOff is a group whose donor, rank 0, hands over so many tensors and is gone then.
type cutOff struct {
	Group
	header []byte
	left   int
}

func (g *cutOff) Rank() int                            { return 1 }
func (g *cutOff) Gather(mine []byte) ([][]byte, error) { return [][]byte{g.header, mine}, nil }
func (g *cutOff) Broadcast(_ int, buf []byte) error {
	if g.left == 0 {
		return errors.New("the donor is gone")
	}
	g.left--
	for i := range buf {
		buf[i] = 0xaa
	}
	return nil
}

// A worker one step behind keeps its state until all of the new one is there and its checksum agrees: the donor may be the
// only one that was that far.
func TestHandOverKeepsTheOldStateUntilTheEnd(t *testing.T) {
	t.Parallel()
	header, err := json.Marshal(handed{Step: 4, Epoch: 2})
	require.NoError(t, err)
	for _, tensors := range []int{1, 1 << 20} { // the second arrives whole, with a wrong checksum
		tr := newTrainer(t, mlpConfig(t), Options{})
		tr.step, tr.stepEpoch = 3, 2
		tr.crew = &crew{Group: &cutOff{header: header, left: tensors}, clean: true}
		first := tr.prog.Tensors[0]
		raw, err := readTensor(tr.store, first.Name, first.Type.Bytes(), nil)
		require.NoError(t, err)
		before := slices.Clone(raw)
		err = tr.handOver(0, false)
		var l lost
		require.ErrorAs(t, err, &l)
		require.True(t, tr.crew.clean)
		require.Equal(t, 3, tr.step)
		require.Equal(t, before, raw)
		tr.crew = nil
	}
}
