// Package netns makes networks of a few hosts for tests: a network namespace per host, on two switches that one cable
// joins, which tests pull. It runs the ip and tc commands of iproute2 and must not know what runs on the hosts.
package netns

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Network is a set of hosts, some left and some right of the cable.
type Network struct {
	t    testing.TB
	name string
}

// made counts networks of this process: namespaces are named after both.
var made atomic.Int64

// New makes a network of so many hosts left and right, which the test's end takes away. Without root, the ip command or
// the right to make namespaces it skips the test and says which.
func New(t testing.TB, left, right int) *Network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces need the ip command; on Debian: apt-get install iproute2")
	}
	n := &Network{t, fmt.Sprintf("ringo%d-%d", os.Getpid(), made.Add(1))}
	sw := n.name + "sw"
	if out, err := exec.Command("ip", "netns", "add", sw).CombinedOutput(); err != nil {
		t.Skipf("network namespaces cannot be made here: %s", out)
	}
	t.Cleanup(func() {
		for i := range left + right {
			_ = exec.Command("ip", "netns", "del", n.host(i)).Run()
		}
		_ = exec.Command("ip", "netns", "del", sw).Run()
	})
	for _, c := range []string{"link add left type bridge", "link add right type bridge", "link add cableL type veth peer name cableR",
		"link set cableL master left", "link set cableR master right", "link set left up", "link set right up", "link set cableL up", "link set cableR up"} {
		n.ip("-n %s %s", sw, c)
	}
	for i := range left + right {
		ns, port, side := n.host(i), fmt.Sprintf("p%d", i), "left"
		if i >= left {
			side = "right"
		}
		n.ip("netns add %s", ns)
		n.ip("-n %s link add %s type veth peer name eth0 netns %s", sw, port, ns)
		n.ip("-n %s link set %s master %s up", sw, port, side)
		n.ip("-n %s link set lo up", ns)
		n.ip("-n %s addr add %s/24 dev eth0", ns, Addr(i))
		n.ip("-n %s link set eth0 up", ns)
	}
	return n
}

// Addr is the address of host i; every network has the same.
func Addr(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }

func (n *Network) host(i int) string { return fmt.Sprintf("%sh%d", n.name, i) }

func (n *Network) ip(format string, args ...any) {
	n.t.Helper()
	n.run("ip " + fmt.Sprintf(format, args...))
}

func (n *Network) run(line string) {
	n.t.Helper()
	f := strings.Fields(line)
	out, err := exec.Command(f[0], f[1:]...).CombinedOutput()
	require.NoError(n.t, err, "%s: %s", line, out)
}

// In is the command line that runs a program on host i. The process becomes the program: signals reach it.
func (n *Network) In(i int, args ...string) []string {
	return append([]string{"ip", "netns", "exec", n.host(i)}, args...)
}

// Cut pulls the cable between left and right, or plugs it in.
func (n *Network) Cut(cut bool) {
	n.t.Helper()
	n.ip("-n %ssw link set cableL %s", n.name, map[bool]string{true: "down", false: "up"}[cut])
}

// Shape bounds what host i sends, by a token bucket (tc-tbf(8)): rate such as "200mbit".
func (n *Network) Shape(i int, rate string) {
	n.t.Helper()
	if _, err := exec.LookPath("tc"); err != nil {
		n.t.Skip("shaping needs the tc command; on Debian: apt-get install iproute2")
	}
	n.run(strings.Join(n.In(i, "tc qdisc replace dev eth0 root tbf rate", rate, "burst 256kb latency 20ms"), " "))
}
