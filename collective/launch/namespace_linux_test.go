package launch

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// network is a set of hosts in network namespaces of their own, on two switches that one cable joins: left and right of
// it is left and right of a partition.
type network struct {
	t    *testing.T
	name string
}

// newNetwork makes namespaces for so many hosts left and right. It needs root and the ip command.
func newNetwork(t *testing.T, left, right int) *network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces need the ip command; on Debian: apt-get install iproute2")
	}
	n := &network{t, fmt.Sprintf("rg%d", time.Now().UnixNano()%1_000_000)}
	sw := n.name + "sw"
	if out, err := exec.Command("ip", "netns", "add", sw).CombinedOutput(); err != nil {
		t.Skipf("network namespaces cannot be made here: %s", out)
	}
	t.Cleanup(func() {
		for i := range left + right {
			exec.Command("ip", "netns", "del", n.host(i)).Run()
		}
		exec.Command("ip", "netns", "del", sw).Run()
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
		n.ip("-n %s addr add 10.77.0.%d/24 dev eth0", ns, i+1)
		n.ip("-n %s link set eth0 up", ns)
	}
	return n
}

func (n *network) host(i int) string { return fmt.Sprintf("%sh%d", n.name, i) }

func (n *network) ip(format string, args ...any) {
	n.t.Helper()
	out, err := exec.Command("ip", strings.Fields(fmt.Sprintf(format, args...))...).CombinedOutput()
	require.NoError(n.t, err, "ip %s: %s", fmt.Sprintf(format, args...), out)
}

// cut pulls the cable between left and right, or plugs it in.
func (n *network) cut(on bool) {
	n.t.Helper()
	n.ip("-n %ssw link set cableL %s", n.name, map[bool]string{true: "down", false: "up"}[on])
}

// remote is a launcher in a namespace.
type remote struct {
	t   *testing.T
	i   int
	cmd *exec.Cmd
	out safe
}

// launch starts host i. Host 0 founds the job, the others join it.
func (n *network) launch(i, steps int, witness bool) *remote {
	n.t.Helper()
	r := recipe{Bind: fmt.Sprintf("10.77.0.%d:7946", i+1), Workers: 1, Steps: steps, Pause: 10 * time.Millisecond}
	if i > 0 {
		r.Join = []string{"10.77.0.1:7946"}
	}
	if witness {
		r.Witness, r.Workers = true, 0
	}
	text, err := json.Marshal(r)
	require.NoError(n.t, err)
	h := &remote{t: n.t, i: i, cmd: exec.Command("ip", "netns", "exec", n.host(i), os.Args[0])}
	h.cmd.Env = append(os.Environ(), envLauncher+"="+string(text))
	h.cmd.Stdout, h.cmd.Stderr = &h.out, &h.out
	require.NoError(n.t, h.cmd.Start())
	n.t.Cleanup(func() {
		h.kill()
		if n.t.Failed() {
			n.t.Logf("host %d:\n%s", i, last(regexp.MustCompile(`(?m)^event.*\n`).ReplaceAllString(h.out.String(), ""), 6000))
		}
	})
	return h
}

// kill ends a host: its launcher, and with it its worker. `ip netns exec` becomes the program it runs.
func (h *remote) kill() {
	h.cmd.Process.Kill()
	h.cmd.Wait()
}

func (h *remote) says(text string) { h.saysTimes(text, 1) }

// saysTimes waits until a text was said so many times.
func (h *remote) saysTimes(text string, n int) {
	h.t.Helper()
	require.Eventually(h.t, func() bool { return strings.Count(h.out.String(), text) >= n }, 40*time.Second, 5*time.Millisecond, "host %d: %s", h.i, text)
}

func (h *remote) steps() int { return strings.Count(h.out.String(), `{"event":"step"`) }

func (h *remote) advances(n int) {
	h.t.Helper()
	at := h.steps()
	require.Eventually(h.t, func() bool { return h.steps() >= at+n }, 30*time.Second, 5*time.Millisecond, "host %d stands still", h.i)
}

// oneChain checks that no two hosts ever knew different views under one number.
func oneChain(t *testing.T, hosts ...*remote) {
	t.Helper()
	known := map[string]string{}
	for _, h := range hosts {
		for _, m := range regexp.MustCompile(`msg="view (\d+): ([^"]*)"`).FindAllStringSubmatch(h.out.String(), -1) {
			if strings.Contains(m[2], "after the break") {
				continue
			}
			if other, ok := known[m[1]]; ok {
				require.Equal(t, other, m[2], "view %s of host %d", m[1], h.i)
			}
			known[m[1]] = m[2]
		}
	}
}

func TestPartitionThreeToTwo(t *testing.T) {
	t.Parallel()
	const steps = 800
	n := newNetwork(t, 3, 2)
	var hosts []*remote
	for i := range 5 {
		hosts = append(hosts, n.launch(i, steps, false))
		if i == 0 {
			hosts[0].says("host is up")
		}
	}
	hosts[4].says("5 workers on 5 hosts")
	hosts[0].advances(20)
	n.cut(true)
	hosts[0].says("3 workers on 3 hosts")
	hosts[3].says("this host is waiting")
	hosts[4].says("this host is waiting")
	still := hosts[4].steps()
	hosts[0].advances(50)
	require.Equal(t, still, hosts[4].steps(), "the minority takes no step")
	n.cut(false)
	hosts[4].saysTimes("5 workers on 5 hosts", 2)
	want := fmt.Sprintf("result true %d <nil>", undisturbed(steps))
	hosts[0].says(want)
	hosts[4].says("result true")
	oneChain(t, hosts...)
}

func TestTwoHostsAndAWitness(t *testing.T) {
	t.Parallel()
	for lose := range 2 {
		t.Run(fmt.Sprintf("lose %d", lose), func(t *testing.T) {
			t.Parallel()
			const steps = 350
			n := newNetwork(t, 2, 1)
			a := n.launch(0, steps, false)
			a.says("host is up")
			hosts := []*remote{a, n.launch(1, steps, false)}
			w := n.launch(2, 0, true)
			a.says("2 workers on 3 hosts")
			a.advances(20)
			hosts[lose].kill()
			hosts[1-lose].says("1 worker on 2 hosts")
			hosts[1-lose].says(fmt.Sprintf("result true %d <nil>", undisturbed(steps)))
			w.says("result true")
			oneChain(t, append(hosts, w)...)
		})
	}
}
