package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The two images have their files, by these names: people and pipelines build them so. Each is built in stages, and what runs is
// small, has no root and says how it is; that for GPUs is compiled by a development image of CUDA 12.
func TestDockerfiles(t *testing.T) {
	t.Parallel()
	last := regexp.MustCompile(`(?m)^FROM\b`)
	for name, compiler := range map[string]string{"Dockerfile": "golang:", "Dockerfile.cuda": "nvidia/cuda:12."} {
		raw, err := os.ReadFile(filepath.Join(repoRoot(t), name))
		require.NoError(t, err)
		text := string(raw)
		stages := last.FindAllStringIndex(text, -1)
		require.Greater(t, len(stages), 1, "%s: one stage", name)
		require.Contains(t, text, compiler, name)
		runs := text[stages[len(stages)-1][0]:]
		require.Regexp(t, `(?m)^USER [1-9]\d*`, runs, "%s: its last stage runs as root", name)
		require.Regexp(t, `(?m)^HEALTHCHECK .*CMD`, runs, "%s: its last stage has no health check", name)
		require.Regexp(t, `(?m)^ENTRYPOINT \["`, runs, "%s: its last stage starts a shell, which passes no signals on", name)
		require.False(t, strings.Contains(runs, ":latest"), "%s: a base without a version", name)
	}
}
