//go:build !linux

package files

import "os"

// exchange swaps two folders' names. Between the first two renames b is missing; its content is then
// under the name b.old.
func exchange(a, b string) error {
	aside := b + ".old"
	if err := os.Rename(b, aside); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return err
	}
	return os.Rename(aside, a)
}
