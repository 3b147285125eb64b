package data

import (
	"fmt"
	"strconv"
	"strings"

	"ringo/runtime/tensor"
)

// augment lists the augmentations of training images, applied in this order.
type augment struct {
	crop   int  // pixels of zero padding on each side before a random crop to the old size
	flip   bool // mirror left to right with probability ½
	cutout int  // side of a square set to the mean (0 after normalisation), centred anywhere
}

// parseAugment reads crop:PAD, flip, cutout:SIZE.
func parseAugment(list []string) (augment, error) {
	var a augment
	for _, item := range list {
		name, arg, has := strings.Cut(item, ":")
		n, err := strconv.Atoi(arg)
		switch {
		case name == "flip" && !has:
			a.flip = true
		case name == "crop" && has && err == nil && n > 0 && n <= 256:
			a.crop = n
		case name == "cutout" && has && err == nil && n > 0 && n <= 1<<12:
			a.cutout = n
		default:
			return a, fmt.Errorf("data.augment %q: expected crop:PAD, flip or cutout:SIZE with a positive number of pixels", item)
		}
	}
	return a, nil
}

// apply writes the augmented, normalised image. One block of random numbers serves the whole image, each
// word one choice: 0 row shift, 1 column shift, 2 flip, and the next block the cutout's centre.
//
// Padding is black (pixel 0 before normalisation), as torchvision's RandomCrop; cutout is after
// normalisation (DeVries and Taylor 2017, arXiv:1708.04552), clipped at the border.
func (a augment) apply(dst []float32, src []byte, table [][256]float32, height, width int, rng *tensor.Philox) {
	b := rng.Next()
	dy, dx, mirror := 0, 0, a.flip && b[2]>>31 == 1
	if a.crop > 0 {
		dy = pick(b[0], 2*a.crop+1) - a.crop
		dx = pick(b[1], 2*a.crop+1) - a.crop
	}
	plane := height * width
	for c := range table {
		black := table[c][0]
		for y := range height {
			row := dst[c*plane+y*width : c*plane+(y+1)*width]
			if y+dy < 0 || y+dy >= height {
				fill(row, black)
				continue
			}
			from := src[c*plane+(y+dy)*width : c*plane+(y+dy+1)*width]
			for x := range row {
				at := x + dx
				if mirror {
					at = width - 1 - x + dx
				}
				if at < 0 || at >= width {
					row[x] = black
				} else {
					row[x] = table[c][from[at]]
				}
			}
		}
	}
	if a.cutout > 0 {
		b := rng.Next()
		top, left := pick(b[0], height)-a.cutout/2, pick(b[1], width)-a.cutout/2
		for c := range table {
			for y := max(top, 0); y < min(top+a.cutout, height); y++ {
				row := dst[c*plane+y*width : c*plane+(y+1)*width]
				fill(row[max(left, 0):max(min(left+a.cutout, width), 0)], 0)
			}
		}
	}
}

// pick maps 32 random bits to 0…n−1.
func pick(u uint32, n int) int { return int(uint64(u) * uint64(n) >> 32) }

func fill(dst []float32, v float32) {
	for i := range dst {
		dst[i] = v
	}
}
