package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// workerEnv makes a process of this test binary a worker.
const workerEnv = "RINGO_BENCH_TEST_WORKER=1"

func TestAllReduceWorkerProcess(t *testing.T) {
	if name, value, _ := strings.Cut(workerEnv, "="); os.Getenv(name) != value {
		t.Skip("started by other tests")
	}
	require.NoError(t, AllReduceWorker(context.Background(), os.Stdin, os.Stdout))
}

func timeWorkers(t *testing.T, c AllReduceConfig, prefix func(worker int) []string) []AllReduceResult {
	require.NoError(t, c.Validate())
	var rs []AllReduceResult
	require.NoError(t, AllReduce(context.Background(), c, func(i int) []string {
		return append(prefix(i), "env", workerEnv, os.Args[0], "-test.run=^TestAllReduceWorkerProcess$")
	}, func(r AllReduceResult) error {
		rs = append(rs, r)
		return nil
	}))
	return rs
}

func TestAllReduceTimesRealProcesses(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"tcp", "tls", "shm"} {
		c := DefaultAllReduceConfig()
		c.World, c.Sizes, c.Budget, c.Transport = 3, []int{4096, 1 << 20}, 20*time.Millisecond, transport
		rs := timeWorkers(t, c, func(int) []string { return nil })
		require.Len(t, rs, 2)
		require.Equal(t, 1<<20, rs[1].Bytes)
		require.InDelta(t, 4.0/3*(1<<20)/rs[1].MS/1e6, rs[1].BusGBps, 1e-9)
	}
}

func TestAllReduceConfigIsChecked(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(c *AllReduceConfig){
		"world 0":         func(c *AllReduceConfig) { c.World = 0 },
		`transport "udp"`: func(c *AllReduceConfig) { c.Transport = "udp" },
		"size 3":          func(c *AllReduceConfig) { c.Sizes = []int{3} },
		`wire "fp4"`:      func(c *AllReduceConfig) { c.Wire = "fp4" },
		"hosts 3":         func(c *AllReduceConfig) { c.Hosts = 3 },
	} {
		c := DefaultAllReduceConfig()
		change(&c)
		require.ErrorContains(t, c.Validate(), want)
	}
}

// TestAllReduceFillsALink shapes a link between two network namespaces to 1 Gbit/s. The shaper counts a frame's bytes with 14 of Ethernet; of a
// frame, 52 are headers of IP and TCP with timestamps. So 99.3 % of its rate can be payload with frames of 9000 bytes, 95.6 % with 1500.
func TestAllReduceFillsALink(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	for _, mtu := range []int{9000, 1500} {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) {
			r := timeLink(t, mtu)
			share := float64(r.Bytes) / r.MinMS / 1e6 * 8 // two workers: each sends the vector's bytes once; the fastest, as others use this machine
			most := float64(mtu-52) / float64(mtu+14)
			t.Logf("%.1f ms for %d bytes: %.3f of the line rate, %.3f of what headers leave", r.MinMS, r.Bytes, share, share/most)
			require.Greater(t, share, 0.95*most)
		})
	}
}

// timeLink times a sum of 32 MiB over a shaped link.
func timeLink(t *testing.T, mtu int) AllReduceResult {
	name := func(i int) string { return fmt.Sprintf("ringo%d-%d", os.Getpid()%10000, i) }
	ip := func(args ...string) error {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%v: %w: %s", args, err, out)
		}
		return nil
	}
	for i := range 2 {
		t.Cleanup(func() { ip("ip", "netns", "del", name(i)) })
		if err := ip("ip", "netns", "add", name(i)); err != nil {
			t.Skip(err)
		}
	}
	frame := fmt.Sprint(mtu)
	require.NoError(t, ip("ip", "link", "add", "v0", "mtu", frame, "netns", name(0), "type", "veth", "peer", "name", "v1", "mtu", frame, "netns", name(1)))
	c := DefaultAllReduceConfig()
	c.Sizes, c.Budget, c.Hosts = []int{32 << 20}, time.Second, 2
	for i := range 2 {
		in := []string{"ip", "netns", "exec", name(i)}
		dev := fmt.Sprint("v", i)
		require.NoError(t, ip(append(in, "ip", "addr", "add", fmt.Sprintf("10.77.0.%d/24", i+1), "dev", dev)...))
		require.NoError(t, ip(append(in, "ip", "link", "set", dev, "up")...))
		if err := ip(append(in, "tc", "qdisc", "add", "dev", dev, "root", "tbf", "rate", "1gbit", "burst", "256kb", "latency", "20ms")...); err != nil {
			t.Skip(err)
		}
		c.Bind = append(c.Bind, fmt.Sprintf("10.77.0.%d:0", i+1))
	}
	return timeWorkers(t, c, func(i int) []string { return []string{"ip", "netns", "exec", name(i)} })[0]
}
