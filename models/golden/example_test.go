package golden_test

import (
	"fmt"

	"ringo/models"
	"ringo/models/golden"
)

func ExampleLoad() {
	c, err := golden.Load("../testdata/mlp.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	in := c.Inputs(0)
	fmt.Println(c.Model.Name, len(c.LossesF64), "steps,", in[models.Features], in[models.Labels])
	// Output:
	// mlp 10 steps, f32(8,20) i32(8)
}
