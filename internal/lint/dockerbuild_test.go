package lint

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDockerBuild runs, without Docker, what of the images' build needs no network: .dockerignore lets through what the Dockerfiles
// copy, and in the trees that their stages get Go finds every package and embedded file, and make every source of the kernels' images.
func TestDockerBuild(t *testing.T) {
	t.Parallel()
	root := repoRoot(t)
	context := dockerContext(t, root)
	for name, tags := range map[string]string{"Dockerfile": "", "Dockerfile.cuda": "cuda"} {
		stages, text := dockerStages(t, root, name, context)
		run(t, stages["build"], "go", "list", "-deps", "-tags", tags, "./cmd/ringo")
		if tags == "cuda" {
			run(t, stages["kernels"], "make", "-n", "-f", "cuda/build.mk", "NVCC=nvcc", "image")
		}
		for _, script := range regexp.MustCompile(`scripts/\S+\.sh`).FindAllString(text, -1) {
			require.FileExists(t, filepath.Join(stages["build"], script), "%s runs it", name)
		}

		// The folders of the text to train on are read from the Go source that uses them.
		command := regexp.MustCompile(`folders=\$\((.*)\) \\`).FindStringSubmatch(text)
		require.Len(t, command, 2, name)
		folders := strings.Fields(run(t, root, "sh", "-c", strings.ReplaceAll(command[1], "/src/gostdlib.go", "data/gostdlib.go")))
		require.Greater(t, len(folders), 50, name)
		require.Contains(t, folders, "net/http", name)
	}
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var diagnosis strings.Builder
	cmd.Stderr = &diagnosis
	out, err := cmd.Output()
	require.NoError(t, err, "%s %v in the files of a stage: %s", name, args, diagnosis.String())
	return string(out)
}

// dockerStages lays out the files that every stage of a Dockerfile copies from the working copy, by stage, and returns the Dockerfile's text.
func dockerStages(t *testing.T, root, name string, context []string) (dirs map[string]string, text string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	dirs = map[string]string{}
	stage := ""
	for _, line := range strings.Split(string(raw), "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 4 && f[0] == "FROM":
			stage = f[3]
			dirs[stage] = t.TempDir()
			if from := dirs[f[1]]; from != "" {
				require.NoError(t, os.CopyFS(dirs[stage], os.DirFS(from)))
			}
		case len(f) > 2 && f[0] == "COPY" && !strings.HasPrefix(f[1], "--from="):
			for _, pattern := range f[1 : len(f)-1] {
				require.Positive(t, copyMatching(t, root, dirs[stage], pattern, context), "%s: %s: nothing that .dockerignore lets through", name, line)
			}
		}
	}
	return dirs, string(raw)
}

// copyMatching copies the files of the context that are, or lie below, what a pattern names, and returns how many.
func copyMatching(t *testing.T, root, to, pattern string, context []string) (n int) {
	t.Helper()
	match := ignorePattern(t, pattern)
	for _, path := range context {
		if pattern != "." && !match(path) {
			continue
		}
		n++
		at := filepath.Join(to, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		raw, err := os.ReadFile(filepath.Join(root, path)) // Go embeds no links
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(at, raw, 0o644))
	}
	return n
}

// dockerContext lists the files that .dockerignore lets through.
func dockerContext(t *testing.T, root string) (files []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	require.NoError(t, err)
	type rule struct {
		match func(string) bool
		keep  bool
	}
	var rules []rule
	for _, line := range strings.Fields(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(string(raw), "")) {
		pattern, keep := strings.CutPrefix(line, "!")
		rules = append(rules, rule{ignorePattern(t, pattern), keep})
	}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if err != nil || d.IsDir() {
			if rel == ".git" || rel == "bin" || rel == "runs" {
				return filepath.SkipDir
			}
			return err
		}
		keep := true
		for _, r := range rules { // the last that matches counts
			if r.match(rel) {
				keep = r.keep
			}
		}
		if keep {
			files = append(files, rel)
		}
		return nil
	}))
	return files
}

// ignorePattern returns whether a path, or a folder that it lies in, matches a pattern as in .dockerignore: * within a name, ** over folders.
func ignorePattern(t *testing.T, pattern string) func(string) bool {
	t.Helper()
	expr := regexp.QuoteMeta(strings.TrimSuffix(pattern, "/"))
	expr = strings.NewReplacer(`\*\*/`, `(?:.*/)?`, `\*`, `[^/]*`).Replace(expr)
	return regexp.MustCompile(`^` + expr + `(?:/|$)`).MatchString
}
