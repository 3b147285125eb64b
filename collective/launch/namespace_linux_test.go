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

	"ringo/internal/netns"
)

// remote is a launcher in a namespace.
type remote struct {
	t   *testing.T
	i   int
	cmd *exec.Cmd
	out safe
}

// launchIn starts host i. Host 0 founds the job, the others join it.
func launchIn(t *testing.T, n *netns.Network, i, steps int, witness bool) *remote {
	t.Helper()
	r := recipe{Bind: netns.Addr(i) + ":7946", Workers: 1, Steps: steps, Pause: 5 * time.Millisecond}
	if i > 0 {
		r.Join = []string{netns.Addr(0) + ":7946"}
	}
	if witness {
		r.Witness, r.Workers = true, 0
	}
	text, err := json.Marshal(r)
	require.NoError(t, err)
	in := n.In(i, os.Args[0])
	h := &remote{t: t, i: i, cmd: exec.Command(in[0], in[1:]...)}
	h.cmd.Env = append(os.Environ(), envLauncher+"="+string(text))
	h.cmd.Stdout, h.cmd.Stderr = &h.out, &h.out
	require.NoError(t, h.cmd.Start())
	t.Cleanup(func() {
		h.kill()
		if t.Failed() {
			t.Logf("host %d:\n%s", i, last(regexp.MustCompile(`(?m)^event.*\n`).ReplaceAllString(h.out.String(), ""), 6000))
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
			if strings.Contains(m[2], "was completed") {
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
	const steps = 700
	n := netns.New(t, 3, 2)
	var hosts []*remote
	for i := range 5 {
		hosts = append(hosts, launchIn(t, n, i, steps, false))
		if i == 0 {
			hosts[0].says("host is up")
		}
	}
	hosts[4].says("5 workers on 5 hosts")
	hosts[0].advances(20)
	n.Cut(true)
	hosts[0].says("3 workers on 3 hosts")
	hosts[3].says("this host is waiting")
	hosts[4].says("this host is waiting")
	still := hosts[4].steps()
	hosts[0].advances(30)
	require.Equal(t, still, hosts[4].steps(), "the minority takes no step")
	n.Cut(false)
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
			const steps = 600
			n := netns.New(t, 2, 1)
			a := launchIn(t, n, 0, steps, false)
			a.says("host is up")
			hosts := []*remote{a, launchIn(t, n, 1, steps, false)}
			w := launchIn(t, n, 2, 0, true)
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
