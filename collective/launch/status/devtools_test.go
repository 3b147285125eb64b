package status

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// browser is a Chromium without a window, spoken to over a pipe in the DevTools protocol: JSON messages that end with a
// zero byte (chromium's --remote-debugging-pipe, files 3 and 4).
type browser struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	n       int
	session string
}

// openPage starts a Chromium and opens an address, or skips the test where there is no Chromium.
func openPage(t *testing.T, url string) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium here to open the page with; on Debian: apt-get install chromium")
	}
	theirIn, in, err := os.Pipe()
	require.NoError(t, err)
	out, theirOut, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--window-size=1240,1240",
		"--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	require.NoError(t, cmd.Start())
	theirIn.Close()
	theirOut.Close()
	timer := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		timer.Stop()
		b.call("Browser.close", nil)
		in.Close()
		cmd.Wait()
		out.Close()
	})
	target := b.call("Target.createTarget", map[string]any{"url": url})
	b.session = b.call("Target.attachToTarget", map[string]any{"targetId": target["targetId"], "flatten": true})["sessionId"].(string)
	return b
}

// call sends a command and returns its result; events that come in between are dropped.
func (b *browser) call(method string, params any) map[string]any {
	b.t.Helper()
	b.n++
	msg := map[string]any{"id": b.n, "method": method}
	if params != nil {
		msg["params"] = params
	}
	if b.session != "" && method != "Browser.close" {
		msg["sessionId"] = b.session
	}
	text, err := json.Marshal(msg)
	require.NoError(b.t, err)
	_, err = b.in.Write(append(text, 0))
	require.NoError(b.t, err)
	for {
		raw, err := b.out.ReadBytes(0)
		require.NoError(b.t, err)
		var reply struct {
			ID     int
			Result map[string]any
			Error  *struct{ Message string }
		}
		require.NoError(b.t, json.Unmarshal(raw[:len(raw)-1], &reply))
		if reply.ID != b.n {
			continue
		}
		require.Nil(b.t, reply.Error, fmt.Sprint(method, reply.Error))
		return reply.Result
	}
}

// eval returns the value of a JavaScript expression that is a string.
func (b *browser) eval(js string) string {
	b.t.Helper()
	r := b.call("Runtime.evaluate", map[string]any{"expression": js, "returnByValue": true})
	require.NotContains(b.t, r, "exceptionDetails", js)
	s, _ := r["result"].(map[string]any)["value"].(string)
	return s
}
