package data

import (
	"fmt"
	"strconv"
	"strings"
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
