package status

import (
	"encoding/base64"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestInABrowser opens the page as people do: numbers, the curve and the ring must be there, and change while one looks.
// With RINGO_SCREENSHOT it also writes a picture to that file.
func TestInABrowser(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for i := 1; i <= 480; i += 2 {
		x := float64(i)
		loss := 1.6 + 2.6*math.Exp(-x/90) + 0.06*math.Sin(x*12.9898)
		s.Point(Point{Step: i, Loss: &loss})
		if (i-1)%80 == 0 {
			val := 1.72 + 2.5*math.Exp(-x/90)
			s.Point(Point{Step: i, ValLoss: &val})
		}
	}
	b := openPage(t, "http://"+s.Addr()+"/")
	dom := ""
	require.Eventually(t, func() bool {
		dom = b.eval("document.documentElement ? document.documentElement.outerHTML : ''")
		return strings.Contains(dom, `class="valid"`) && strings.Contains(dom, "worker 2 died")
	}, 20*time.Second, 20*time.Millisecond)
	for _, want := range []string{
		"<title>gpt-char · ringo</title>", ">live<", ">480 / 2,000<", ">18.4 ms<", "7 workers", ">43 ms<",
		">1a2b/3<", ">61.5<", "320 MB/s", "(witness)", `class="train" d="M`, `class="arrow"`,
	} {
		require.Contains(t, dom, want)
	}
	if file := os.Getenv("RINGO_SCREENSHOT"); file != "" {
		raw, err := base64.StdEncoding.DecodeString(b.call("Page.captureScreenshot", map[string]any{"format": "png"})["data"].(string))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, raw, 0o666))
	}
	before := b.eval(`document.querySelector(".train").getAttribute("d")`)
	loss := 1.5
	s.Point(Point{Step: 481, Loss: &loss})
	require.Eventually(t, func() bool { return b.eval(`document.querySelector(".train").getAttribute("d")`) != before }, 10*time.Second, 20*time.Millisecond,
		"the curve grows while one looks")
	require.NoError(t, s.Close())
	require.Eventually(t, func() bool {
		return strings.Contains(b.eval(`document.getElementById("link").textContent`), "no connection")
	}, 10*time.Second, 20*time.Millisecond)
}
