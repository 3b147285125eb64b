package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

// TestManifestsCallRingo: the command lines in the Kubernetes manifests are such that this program takes them.
// scripts/k8s/check.sh holds the manifests against Kubernetes' schemas.
func TestManifestsCallRingo(t *testing.T) {
	t.Parallel()
	for file, path := range map[string]string{
		"job.yaml":           "$.spec.template.spec.containers[0].args",
		"jobset/jobset.yaml": "$.spec.replicatedJobs[0].template.spec.template.spec.containers[0].args",
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", "scripts", "k8s", file))
		require.NoError(t, err)
		at, err := yaml.PathString(path)
		require.NoError(t, err)
		node, err := at.ReadNode(bytes.NewReader(text))
		require.NoError(t, err, file)
		var args []string
		require.NoError(t, yaml.NodeToValue(node, &args))
		var c cli
		parser, err := kong.New(&c, kong.Name("ringo"))
		require.NoError(t, err)
		ctx, err := parser.Parse(args)
		require.NoError(t, err, file)
		require.Equal(t, "launch", ctx.Command())
		require.Len(t, c.Launch.Join, 4, file)
		require.Equal(t, "0.0.0.0:7946", c.Launch.Bind)
	}
}
