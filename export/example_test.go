package export_test

import (
	"fmt"

	"ringo/export"
	"ringo/models"
)

// A residual network has a batch norm behind every convolution; in the form for inference none is left.
func Example() {
	m, _ := models.New(models.Config{Name: "resnet", Layers: 8, Width: 4, Input: []int{3, 8, 8}, Classes: 2})
	count := func(inf *export.Inference) (norms int) {
		g, _ := inf.Build(1, 0)
		for _, n := range g.Nodes {
			if n.Op.Name == "batchnorm_infer" {
				norms++
			}
		}
		return norms
	}
	trained := export.Forward(m, export.Tensors{})
	folded, err := export.Fold(trained)
	fmt.Println(count(trained), count(folded), err)
	// Output: 7 0 <nil>
}
