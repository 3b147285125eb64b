package netns_test

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"ringo/internal/netns"
)

// In a test, New makes five hosts, three left and two right of a cable; In runs programs on them:
//
//	n := netns.New(t, 3, 2)
//	cmd := exec.Command("ip", n.In(4, "ringo", "launch", "--join", netns.Addr(0))[1:]...)
//	n.Cut(true)
func Example() {
	fmt.Println(netns.Addr(0), netns.Addr(4))
	// Output: 10.77.0.1 10.77.0.5
}

func TestCut(t *testing.T) {
	t.Parallel()
	n := netns.New(t, 1, 1)
	ping := func() error {
		if _, err := exec.LookPath("ping"); err != nil {
			t.Skip("needs ping; on Debian: apt-get install iputils-ping")
		}
		c := n.In(0, "ping", "-c1", "-W1", netns.Addr(1))
		return exec.Command(c[0], c[1:]...).Run()
	}
	require.NoError(t, ping())
	n.Cut(true)
	require.Error(t, ping())
	n.Cut(false)
	n.Shape(0, "200mbit")
	require.NoError(t, ping())
}
