package graph

// convCase is one convolution that samples of conv2d and its two gradients share.
type convCase struct {
	name string
	x, w [4]int
	a    Conv2D
}

func pad4(p int) [4]int { return [4]int{p, p, p, p} }

// convCases covers each kernel path of the CPU backend (see kernels/conv.c) at sizes that leave tails:
// channels that are no multiple of a vector, images narrower and wider than a register tile.
func convCases() []convCase {
	return []convCase{
		{"3x3", [4]int{2, 3, 7, 9}, [4]int{5, 3, 3, 3}, Conv2D{}},
		{"3x3-pad1-wide", [4]int{1, 2, 5, 35}, [4]int{17, 2, 3, 3}, Conv2D{Pad: pad4(1)}},
		{"3x3-pad1-stride2", [4]int{2, 4, 8, 9}, [4]int{3, 4, 3, 3}, Conv2D{Pad: pad4(1), Stride: [2]int{2, 2}}},
		{"3x3-one-channel", [4]int{3, 1, 6, 8}, [4]int{4, 1, 3, 3}, Conv2D{}},
		{"3x3-channels17", [4]int{1, 17, 5, 5}, [4]int{33, 17, 3, 3}, Conv2D{Pad: pad4(1)}},
		{"1x1", [4]int{2, 5, 3, 6}, [4]int{7, 5, 1, 1}, Conv2D{}},
		{"1x1-stride2", [4]int{2, 3, 5, 6}, [4]int{4, 3, 1, 1}, Conv2D{Stride: [2]int{2, 2}}},
		{"5x5-pad2", [4]int{1, 2, 6, 7}, [4]int{3, 2, 5, 5}, Conv2D{Pad: pad4(2)}},
		{"7x7-pad3-stride2", [4]int{1, 3, 11, 12}, [4]int{4, 3, 7, 7}, Conv2D{Pad: pad4(3), Stride: [2]int{2, 2}}},
		{"groups", [4]int{2, 6, 5, 5}, [4]int{4, 3, 3, 3}, Conv2D{Groups: 2, Pad: pad4(1)}},
		{"depthwise", [4]int{2, 5, 7, 18}, [4]int{5, 1, 3, 3}, Conv2D{Groups: 5, Pad: pad4(1)}},
		{"depthwise-stride2", [4]int{1, 3, 8, 19}, [4]int{6, 1, 3, 3}, Conv2D{Groups: 3, Pad: pad4(1), Stride: [2]int{2, 2}}},
		{"dilated", [4]int{1, 2, 9, 10}, [4]int{3, 2, 3, 2}, Conv2D{Dilation: [2]int{2, 3}, Pad: pad4(2)}},
		{"asymmetric", [4]int{1, 2, 6, 5}, [4]int{3, 2, 2, 3}, Conv2D{Stride: [2]int{3, 2}, Pad: [4]int{0, 2, 1, 3}}},
	}
}

func convSamples() []Sample {
	var out []Sample
	for _, c := range convCases() {
		out = append(out, Sample{Name: c.name, In: []SampleIn{In(c.x[:]...), In(c.w[:]...)}, Attrs: c.a})
	}
	c := convCases()[0]
	for _, act := range []string{"", "relu"} {
		a := c.a
		a.Bias, a.Act = true, act
		out = append(out, Sample{Name: "bias-" + act, In: []SampleIn{In(c.x[:]...), In(c.w[:]...), In(c.w[0])}, Attrs: a})
	}
	return out
}

func convGradSamples(pick func(x, w, y [4]int) (out [4]int, a, b SampleIn)) []Sample {
	var out []Sample
	for _, c := range convCases() {
		y, err := c.a.OutShape(c.x[:], c.w[:])
		if err != nil {
			panic("graph: sample " + c.name + ": " + err.Error())
		}
		shape, p, q := pick(c.x, c.w, y)
		out = append(out, Sample{Name: c.name, In: []SampleIn{p, q}, Attrs: Conv2DGrad{c.a, shape}})
	}
	return out
}
