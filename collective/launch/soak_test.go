package launch

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSoak kills workers at random while their replacements join, 20 times, or as often as RINGO_SOAK says. Files stay
// bounded, every step counts once, and TestMain finds what goroutine is left.
func TestSoak(t *testing.T) {
	kills := 20
	if n, err := strconv.Atoi(os.Getenv("RINGO_SOAK")); err == nil {
		kills = n
	} else {
		t.Parallel() // alone, files of this process are those of the soak
	}
	steps := 100 * kills
	h := newHost(t, 4, steps, func(c *Config) { c.Command = tagged(c.Command); c.Restarts = 2 * kills }).start()
	h.reach(10)
	files := func() int { all, _ := os.ReadDir("/proc/self/fd"); return len(all) }
	before := files()
	killed := 0
	for killed < kills && h.step() < steps-50 {
		pids := h.children()
		if len(pids) < 2 { // with nobody left the toy run would begin anew: it has no checkpoints
			time.Sleep(time.Millisecond)
			continue
		}
		if pid := pids[rand.IntN(4)]; pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
			h.reach(h.step() + 5)
		}
	}
	after := files()
	h.finishes(steps)
	ms := h.recoveries()
	require.NotEmpty(t, ms)
	t.Logf("measured: %d kills; open files %d before, %d after; recovery of %d views in ms: median %d, 95%% %d, slowest %v",
		killed, before, after, len(ms), ms[len(ms)/2], ms[len(ms)*95/100], ms[max(0, len(ms)-6):])
	require.Greater(t, killed, kills/2)
	if os.Getenv("RINGO_SOAK") != "" {
		require.LessOrEqual(t, after, before+8, "open files grow")
	}
}
